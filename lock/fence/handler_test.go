package fence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/lock/fence"
)

func request(ctx context.Context, method string, token int64) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, "http://files/report", nil)
	if token != 0 {
		fence.SetToken(r.Header, token)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var accepts = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func TestAnOlderTokenIsRefused(t *testing.T) {
	h := fence.Handler(accepts, nil)
	for i, step := range []struct {
		method string
		token  int64
		want   int
	}{
		{http.MethodPut, 33, 204},
		{http.MethodPut, 33, 204},
		{http.MethodPost, 34, 204},
		{http.MethodPut, 33, 412},
		{http.MethodDelete, 33, 412},
		{http.MethodGet, 33, 412}, // a token that is there is checked
		{http.MethodGet, 0, 204},
		{http.MethodHead, 0, 204},
		{http.MethodOptions, 0, 204},
		{http.MethodPut, 0, 400},
		{http.MethodPatch, 0, 400},
		{http.MethodPut, -34, 400},
		{http.MethodGet, -34, 400},
		{http.MethodGet, 35, 204}, // and remembered
		{http.MethodPut, 34, 412},
	} {
		if got := serve(h, request(t.Context(), step.method, step.token)).Code; got != step.want {
			t.Errorf("step %d, %s with token %d: got %d, want %d", i+1, step.method, step.token, got, step.want)
		}
	}
}

func TestARefusalSaysWhatIsNewerAndWhatToDo(t *testing.T) {
	h := fence.Handler(accepts, &fence.Options{Name: func(*http.Request) string { return "report" }})
	serve(h, request(t.Context(), http.MethodPut, 34))
	w := serve(h, request(t.Context(), http.MethodPut, 33))
	want := "fence: stale token: lock \"report\" has been passed on from 33 to 34: acquire it again\n"
	if got := w.Body.String(); got != want || w.Header().Get(fence.TokenHeader) != "34" {
		t.Errorf("got  %q with %v\nwant %q with 34", got, w.Header(), want)
	}
	w = serve(h, request(t.Context(), http.MethodPut, 0))
	want = "fence: invalid argument: PUT /report has no header Fencing-Token: send the token of the hold under which it is made\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEachLockHasItsOwnTokens(t *testing.T) {
	h := fence.Handler(accepts, &fence.Options{Name: func(r *http.Request) string { return r.Host }})
	serve(h, request(t.Context(), http.MethodPut, 34))
	other := request(t.Context(), http.MethodPut, 1)
	other.Host = "other"
	if w := serve(h, other); w.Code != 204 {
		t.Errorf("another lock's older token: %d %s", w.Code, w.Body)
	}
}

func TestWhichRequestsNeedATokenCanBeSaid(t *testing.T) {
	h := fence.Handler(accepts, &fence.Options{Required: func(r *http.Request) bool { return r.Method == http.MethodGet }})
	for method, want := range map[string]int{http.MethodGet: 400, http.MethodPut: 204} {
		if got := serve(h, request(t.Context(), method, 0)).Code; got != want {
			t.Errorf("%s without a token: got %d, want %d", method, got, want)
		}
	}
}

// storeFunc is a Store.
type storeFunc func(ctx context.Context, name string, token int64) error

func (f storeFunc) Check(ctx context.Context, name string, token int64) error {
	return f(ctx, name, token)
}

func TestWhereTheStoreFailsNothingIsServed(t *testing.T) {
	var log bytes.Buffer
	h := fence.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }), &fence.Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Store:  storeFunc(func(context.Context, string, int64) error { return errors.New("db7 does not answer") }),
	})
	w := serve(h, request(t.Context(), http.MethodPut, 1))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "db7") {
		t.Errorf("got %d %q, want 503 without the cause, which is not for clients", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "db7") {
		t.Errorf("the log has no cause: %q", log.String())
	}
}

// server serves h with HTTP/1.1 or HTTP/2.
func server(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func put(ctx context.Context, t *testing.T, s *httptest.Server, token int64, body io.Reader) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL, body)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	fence.SetToken(r.Header, token)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(got)
}

func TestASenderThatIsPausedHoldsUpNoOtherRequest(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			reading, read := make(chan struct{}), make(chan error, 1)
			s := server(t, fence.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if token, _ := fence.Token(r); token == 33 {
					_, _ = io.ReadFull(r.Body, make([]byte, 5))
					close(reading)
					_, err := io.ReadAll(r.Body)
					read <- err
					return
				}
				_, _ = io.Copy(w, r.Body)
			}), nil), http2)
			body, send := io.Pipe()
			defer send.Close()
			older := make(chan int, 1)
			go func() { // ends with the request
				status, _ := put(ctx, t, s, 33, body)
				older <- status
			}()
			_, _ = send.Write([]byte("hello")) // and no more
			<-reading
			if status, text := put(ctx, t, s, 34, strings.NewReader("world")); status != 200 || text != "world" {
				t.Errorf("the newer one: got %d %q", status, text)
			}
			if err := <-read; !errors.Is(err, fence.ErrStale) {
				t.Errorf("the older one's body ended with %v, want ErrStale", err)
			}
			if status := <-older; status != http.StatusConflict {
				t.Errorf("the older one: got %d, want 409", status)
			}
			if status, text := put(ctx, t, s, 34, strings.NewReader("again")); status != 200 || text != "again" {
				t.Errorf("one more: got %d %q", status, text)
			}
		})
	}
}

// net/http reads from a connection while a handler works on a request that has arrived, and takes an
// error there for the connection's end.
// A newer token is accepted while next has the connection: what next does with it is next's.
func TestNothingIsWrittenToAHijackedConnection(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	hijacked, got := make(chan struct{}), make(chan string, 1)
	h := fence.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, _ := fence.Token(r); token != 33 {
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		close(hijacked)
		<-r.Context().Done()
		_, _ = io.WriteString(conn, "bye")
		conn.Close()
	}), nil)
	var logged bytes.Buffer
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(&logged, "", 0)
	s.Start()
	go func() { // waited for below
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			got <- ""
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: x\r\n%s: 33\r\n\r\n", fence.TokenHeader)
		all, _ := io.ReadAll(conn)
		got <- string(all)
	}()
	select {
	case <-hijacked:
	case <-ctx.Done():
		t.Fatal("the connection is not hijacked")
	}
	if status, text := put(ctx, t, s, 34, nil); status != http.StatusOK {
		t.Errorf("the newer one: %d %s", status, text)
	}
	if text := <-got; !strings.HasSuffix(text, "\r\n\r\nbye") {
		t.Errorf("got %q, want what next wrote", text)
	}
	s.Close()
	if logged.Len() > 0 {
		t.Errorf("the server says: %s", logged.String())
	}
}

func TestAConnectionIsGoodAfterItsRequestWasCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		read, answer http.HandlerFunc
		want         int
	}{
		"read, answered":   {drain, accepts, http.StatusNoContent},
		"unread, answered": {nothing, accepts, http.StatusNoContent},
		"read, silent":     {drain, nothing, http.StatusConflict},
		"unread, silent":   {nothing, nothing, http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			came := make(chan struct{})
			s := server(t, fence.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if token, _ := fence.Token(r); token == 33 {
					c.read(w, r)
					close(came)
					<-r.Context().Done()
					c.answer(w, r)
					return
				}
				drain(w, r)
				if r.Context().Err() == nil {
					_, _ = io.WriteString(w, "fine")
				}
			}), nil), false)
			older := make(chan int, 1)
			go func() { // ends with the request
				status, _ := put(t.Context(), t, s, 33, strings.NewReader("hello"))
				older <- status
			}()
			<-came
			put(t.Context(), t, s, 34, strings.NewReader("hello"))
			if status := <-older; status != c.want {
				t.Errorf("the older one: got %d, want %d", status, c.want)
			}
			both := make(chan struct{})
			for range 2 { // on the connections of both, if they are used again
				go func() { // ends with the request
					defer func() { both <- struct{}{} }()
					if status, text := put(t.Context(), t, s, 35, strings.NewReader("hello")); status != 200 || text != "fine" {
						t.Errorf("afterwards: got %d %q, want 200 and a living context", status, text)
					}
				}()
			}
			<-both
			<-both
		})
	}
}

func nothing(http.ResponseWriter, *http.Request) {}

func drain(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

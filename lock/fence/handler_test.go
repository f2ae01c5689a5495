package fence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdkit/etcdkit/lock/fence"
)

func request(ctx context.Context, method string, token int64) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, "http://files/report", nil)
	if token != 0 {
		fence.SetHeader(r.Header, token)
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
	want := "fence: stale token: lock \"report\" has been passed on from 33 to 34: acquire it anew\n"
	if got := w.Body.String(); got != want || w.Header().Get(fence.TokenHeader) != "34" {
		t.Errorf("got  %q with %v\nwant %q with 34", got, w.Header(), want)
	}
	w = serve(h, request(t.Context(), http.MethodPut, 0))
	want = "fence: bad token: PUT /report has no header Fencing-Token: send the token of the hold that it is made under\n"
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

// slow serves each request until told, and says what it sees.
type slow struct {
	came   chan int64 // tokens
	goOn   chan struct{}
	mu     sync.Mutex
	served []int64
	causes []error
}

func newSlow() *slow { return &slow{came: make(chan int64, 10), goOn: make(chan struct{})} }

func (s *slow) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	token, _ := fence.Token(r) // it came through the fence
	s.came <- token
	<-s.goOn // whatever its context says
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = append(s.served, token)
	s.causes = append(s.causes, context.Cause(r.Context()))
}

// later serves a request beside the test, and tells its answer.
func later(h http.Handler, r *http.Request) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() { done <- serve(h, r) }() // ends with the request
	return done
}

func TestANewerRequestWaitsForTheOlderOneThatIsBeingServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		h := fence.Handler(s, nil)
		older := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		newer := later(h, request(t.Context(), http.MethodPut, 34))
		synctest.Wait()
		if len(s.came) != 1 {
			t.Fatal("the newer one is served beside the older one")
		}
		if w := serve(h, request(t.Context(), http.MethodPut, 33)); w.Code != 412 {
			t.Errorf("an older one while the newer one waits: got %d, want 412", w.Code)
		}
		close(s.goOn)
		if w := <-older; w.Code != http.StatusConflict || w.Header().Get(fence.TokenHeader) != "34" {
			t.Errorf("the older one, which was cut off and answered nothing: got %d %v, want 409 with 34", w.Code, w.Header())
		}
		if w := <-newer; w.Code != 200 {
			t.Errorf("the newer one: got %d %s, want 200", w.Code, w.Body)
		}
		if len(s.served) != 2 || s.served[0] != 33 || s.served[1] != 34 {
			t.Errorf("served %v, want 33, then 34", s.served)
		}
		if !errors.Is(s.causes[0], fence.ErrStale) || s.causes[1] != nil {
			t.Errorf("their contexts ended by %v, want the older one's by ErrStale", s.causes)
		}
	})
}

func TestAnAnswerThatWasGivenStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := fence.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if token, _ := fence.Token(r); token == 33 {
				<-r.Context().Done() // and it was carried out all the same
			}
			w.WriteHeader(http.StatusCreated)
		}), nil)
		older := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		serve(h, request(t.Context(), http.MethodPut, 34))
		if w := <-older; w.Code != http.StatusCreated {
			t.Errorf("got %d, want the handler's 201", w.Code)
		}
	})
}

func TestOfThoseThatWaitTheNewestIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		h := fence.Handler(s, nil)
		oldest := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		middle := later(h, request(t.Context(), http.MethodPut, 34))
		synctest.Wait()
		newest := later(h, request(t.Context(), http.MethodPut, 35))
		if w := <-middle; w.Code != 412 || w.Header().Get(fence.TokenHeader) != "35" {
			t.Errorf("the middle one: got %d %v, want 412 with 35", w.Code, w.Header())
		}
		close(s.goOn)
		if <-oldest; (<-newest).Code != 200 || len(s.served) != 2 || s.served[1] != 35 {
			t.Errorf("served %v, want 33, then 35", s.served)
		}
	})
}

func TestWhoWaitsForTooLongIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		h := fence.Handler(s, nil)
		older := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := serve(h, request(ctx, http.MethodPut, 34))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "34 waited for 33") {
			t.Errorf("got %d %q, want 503 and for whom it waited", w.Code, w.Body)
		}
		close(s.goOn)
		if <-older; len(s.came) != 1 {
			t.Error("it was served all the same")
		}
	})
}

func TestOneHoldsRequestsAreServedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		h := fence.Handler(s, nil)
		one := later(h, request(t.Context(), http.MethodPut, 33))
		two := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		if len(s.came) != 2 {
			t.Error("one waits for the other")
		}
		close(s.goOn)
		<-one
		<-two
	})
}

// Between its check and its turn a request is found by a newer one that is checked meanwhile.
func TestARequestThatIsOvertakenRightAfterItsCheckIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m fence.Memory
		goOn := make(chan struct{})
		h := fence.Handler(accepts, &fence.Options{Store: storeFunc(func(ctx context.Context, name string, token int64) error {
			err := m.Check(ctx, name, token)
			if token == 33 {
				<-goOn
			}
			return err
		})})
		older := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		newer := later(h, request(t.Context(), http.MethodPut, 34))
		synctest.Wait()
		close(goOn)
		if w := <-older; w.Code != 412 {
			t.Errorf("the older one: got %d, want 412", w.Code)
		}
		if w := <-newer; w.Code != 204 {
			t.Errorf("the newer one: got %d, want 204", w.Code)
		}
	})
}

func TestAHandlerThatPanicsHoldsUpNobody(t *testing.T) {
	h := fence.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, _ := fence.Token(r); token == 33 {
			panic("of the handler")
		}
	}), nil)
	func() {
		defer func() { recover() }()
		serve(h, request(t.Context(), http.MethodPut, 33))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if w := serve(h, request(ctx, http.MethodPut, 34)); w.Code != 200 {
		t.Errorf("got %d %s, want 200", w.Code, w.Body)
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
	fence.SetHeader(r.Header, token)
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

func TestASenderThatStandsStillHoldsUpNobody(t *testing.T) {
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

// witness is a service that notes what breaks the order of tokens.
type witness struct {
	mu     sync.Mutex
	last   int64
	inside int
	served int
	wrong  []string
}

func (s *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := fence.Token(r) // it came through the fence
	s.begin(token)
	for range rand.IntN(50) { // the work
		runtime.Gosched()
	}
	s.end(token)
	w.WriteHeader(http.StatusNoContent)
}

func (s *witness) begin(token int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token < s.last {
		s.wrong = append(s.wrong, fmt.Sprintf("%d is served after %d", token, s.last))
	}
	if s.inside > 0 && token != s.last {
		s.wrong = append(s.wrong, fmt.Sprintf("%d is served beside %d", token, s.last))
	}
	s.last = token
	s.inside++
}

func (s *witness) end(token int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != s.last {
		s.wrong = append(s.wrong, fmt.Sprintf("%d came while %d was served", s.last, token))
	}
	s.inside--
	s.served++
}

func TestAHandlerServesTokensInTheirOrder(t *testing.T) {
	var (
		s    witness
		h    = fence.Handler(&s, nil)
		next atomic.Int64
		wg   sync.WaitGroup
	)
	const clients, each = 16, 200
	for range clients {
		wg.Go(func() {
			for range each {
				token := max(1, next.Add(1)/4-rand.Int64N(3)) // of this hold or one just before
				switch w := serve(h, request(t.Context(), http.MethodPut, token)); w.Code {
				case http.StatusNoContent, http.StatusPreconditionFailed:
				default:
					t.Errorf("token %d: got %d %s", token, w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if len(s.wrong) > 0 {
		t.Errorf("%d times wrong, first: %s", len(s.wrong), s.wrong[0])
	}
	if s.served == 0 || s.served == clients*each {
		t.Errorf("%d of %d were served, want some", s.served, clients*each)
	}
}

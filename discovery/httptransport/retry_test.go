package httptransport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

// hangUp breaks the connection after it has read the request.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// pair is a site of two instances: a does something bad, b answers with what it was sent. Requests
// to each are counted.
func pair(t *testing.T, opts *httptransport.Options, bad http.HandlerFunc) (s *site, a, b *atomic.Int32) {
	t.Helper()
	s, a, b = newSite(t, opts), new(atomic.Int32), new(atomic.Int32)
	if bad == nil {
		s.dead("a")
	} else {
		s.serve("a", func(w http.ResponseWriter, r *http.Request) {
			a.Add(1)
			bad(w, r)
		})
	}
	s.serve("b", func(w http.ResponseWriter, r *http.Request) {
		b.Add(1)
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "b: %s %v", body, err)
	})
	s.until("a b")
	return s, a, b
}

func TestOnlyWhatIsSafeIsSentAgain(t *testing.T) {
	drains := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			status(code)(w, r)
		}
	}
	for _, c := range []struct {
		what   string
		method string
		key    string
		bad    http.HandlerFunc // nil: it does not listen
		stream bool             // a body that cannot be had again
		again  bool
	}{
		{"it does not listen", "GET", "", nil, false, true},
		{"it does not listen", "POST", "", nil, false, true},
		{"it does not listen", "POST", "", nil, true, true},
		{"the connection breaks", "GET", "", hangUp, false, true},
		{"the connection breaks", "PUT", "", hangUp, false, true},
		{"the connection breaks", "PUT", "", hangUp, true, false},
		{"the connection breaks", "POST", "", hangUp, false, false},
		{"the connection breaks", "PATCH", "", hangUp, false, false},
		{"the connection breaks", "POST", "Idempotency-Key", hangUp, false, true},
		{"502", "HEAD", "", drains(502), false, true},
		{"503", "GET", "", drains(503), false, true},
		{"504", "DELETE", "", drains(504), false, true},
		{"503", "PUT", "", drains(503), true, false},
		{"503", "POST", "", drains(503), false, false},
		{"503", "POST", "X-Idempotency-Key", drains(503), false, true},
		{"500", "GET", "", drains(500), false, false},
		{"429", "GET", "", drains(429), false, false},
		{"404", "GET", "", drains(404), false, false},
	} {
		name := fmt.Sprintf("%s, %s %s, stream %t", c.what, c.method, c.key, c.stream)
		t.Run(name, func(t *testing.T) {
			s, atA, atB := pair(t, nil, c.bad)
			const rounds = 4
			bad := 0
			for range rounds {
				body := &closer{Reader: strings.NewReader("body")}
				req := request(t, c.method, body)
				if !c.stream {
					req.ContentLength = 4
					req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
				}
				if c.key != "" {
					req.Header.Set(c.key, "1")
				}
				code, text, err := s.ask(req)
				if err == nil && code == 200 && text != "b: body <nil>" && c.method != "HEAD" {
					t.Errorf("b was sent %q", text)
				}
				if code != 200 {
					bad++
				}
				eventually(t, "the body is closed", func() bool { return body.closed.Load() > 0 })
			}
			t.Logf("%d at a, %d at b, %d bad", atA.Load(), atB.Load(), bad)
			if c.again != (bad == 0) {
				t.Errorf("%d of %d requests went bad, want none: %t", bad, rounds, c.again)
			}
			want := int32(rounds) // each arrives at b, or at a and nowhere else
			if !c.again {
				want -= atA.Load()
			}
			if atB.Load() != want || c.again && s.Stats().Retries == 0 {
				t.Errorf("%d arrived at b and %d were sent again, want %d", atB.Load(), s.Stats().Retries, want)
			}
		})
	}
}

func TestABodyThatIsTheCallersTroubleIsNotTheInstances(t *testing.T) {
	s, _, _ := pair(t, nil, says("a"))
	broken := errors.New("the file is gone")
	for range 4 {
		body := io.MultiReader(strings.NewReader("begin"), failing{broken})
		if _, _, err := s.ask(request(t, "PUT", body)); !errors.Is(err, broken) {
			t.Errorf("got %v, want the body's error", err)
		}
	}
	req := request(t, "GET", nil)
	req.Header["Bad header"] = []string{"x"}
	if _, err := s.RoundTrip(req); err == nil {
		t.Error("a header that net/http refuses was sent")
	}
	if n, r := s.view().Stats().Failures, s.Stats().Retries; n+r != 0 {
		t.Errorf("%d failures of instances, and %d retries, want none", n, r)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestGetBodyThatFailsEndsTheRequest(t *testing.T) {
	s, _, _ := pair(t, nil, hangUp)
	gone := errors.New("gone")
	for failed := false; !failed; {
		req := request(t, "PUT", bytes.NewReader([]byte("x")))
		req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
		_, _, err := s.ask(req)
		if failed = err != nil; failed && !errors.Is(err, gone) {
			t.Errorf("got %v, want GetBody's", err)
		}
	}
}

func TestACancelledRequestEndsAndIsNoFailure(t *testing.T) {
	for name, c := range map[string]struct {
		ctx      func() (context.Context, context.CancelFunc)
		timeout  time.Duration
		want     error
		failures uint64
	}{
		"cancelled": {func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 0, context.Canceled, 0},
		"deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 100*time.Millisecond)
		}, 0, context.DeadlineExceeded, 1},
		"Client.Timeout": {func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 100 * time.Millisecond, context.DeadlineExceeded, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			var hits atomic.Int32
			begun := make(chan struct{}, 10)
			for _, id := range []string{"a", "b"} {
				s.serve(id, func(_ http.ResponseWriter, r *http.Request) {
					hits.Add(1)
					begun <- struct{}{}
					<-r.Context().Done()
				})
			}
			s.until("a b")
			ctx, cancel := c.ctx()
			defer cancel()
			s.Client.Timeout = c.timeout
			if c.want == context.Canceled {
				go func() { // ends with the request
					<-begun
					cancel()
				}()
			}
			_, _, err := s.ask(request(t, "GET", nil).WithContext(ctx))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			var u *url.Error
			if timeout := c.want == context.DeadlineExceeded; !errors.As(err, &u) || u.Timeout() != timeout {
				t.Errorf("%v is a timeout: %t, want %t", err, !timeout, timeout)
			}
			if got := s.view().Stats().Failures; got != c.failures {
				t.Errorf("%d failures of instances were reported, want %d", got, c.failures)
			}
			if n := hits.Load(); n != 1 {
				t.Errorf("it was sent %d times, want once", n)
			}
		})
	}
}

func TestNothingIsTriedAfterTheContextsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSite(t, nil)
	var hits atomic.Int32
	for _, id := range []string{"a", "b", "c"} {
		s.serve(id, func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			cancel()
			hangUp(w, r)
		})
	}
	s.until("a b c")
	if _, _, err := s.ask(request(t, "GET", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) || hits.Load() != 1 {
		t.Errorf("%d tries, %v; want one, and the cancellation", hits.Load(), err)
	}
	if n := s.Stats().Retries; n != 0 {
		t.Errorf("%d further tries were begun, want none", n)
	}
}

func TestAllDeadIsToldOfEach(t *testing.T) {
	s := newSite(t, nil)
	s.dead("a")
	s.dead("b")
	s.put("c", "value-2379") // has no address
	s.until("a b c")
	_, _, err := s.get()
	t.Log(err)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want ECONNREFUSED", err)
	}
	for _, want := range []string{`service "web"`, "instance a (127.0.0.1:", "instance b (127.0.0.1:", "instance c (): it is registered without an address"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, _, err := s.get(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while all of them cool down: %v, want it tried", err)
	}
	s.serve("d", says("d"))
	s.until("a b c d")
	for range 10 {
		if _, body, err := s.get(); body != "d" {
			t.Errorf("with one that lives: %q, %v", body, err)
		}
	}
}

func TestAttemptsBoundTheTries(t *testing.T) {
	for attempts, want := range map[int]int32{0: 3, 1: 1, 2: 2, 9: 4} {
		s := newSite(t, &httptransport.Options{Attempts: attempts})
		var hits atomic.Int32
		for _, id := range []string{"a", "b", "c", "d"} {
			s.serve(id, func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				status(503)(w, r)
			})
		}
		s.until("a b c d")
		code, body, err := s.get()
		if code != 503 || body != "no" || hits.Load() != want {
			t.Errorf("%d attempts: %d, %q, %v after %d tries; want the last answer after %d", attempts, code, body, err, hits.Load(), want)
		}
	}
}

func TestAnotherInstanceIsFoundHoweverSmallItsWeight(t *testing.T) {
	s, _, _ := pair(t, nil, status(503))
	srv := s.serve("c", status(503))
	s.put("c", fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":100000}}`, srv.Listener.Addr()))
	s.until("a b c")
	for range 20 {
		if code, _, err := s.get(); code != 200 {
			t.Errorf("got %d, %v, want b's answer", code, err)
		}
	}
}

func TestAnAbandonedAnswerCostsNeitherItsConnectionNorTime(t *testing.T) {
	var lines lines
	s := newSite(t, &httptransport.Options{Base: lines.base()})
	a := s.serve("a", status(503))
	s.serve("b", func(w http.ResponseWriter, r *http.Request) { // and never ends its answer
		w.WriteHeader(503)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s.serve("c", says("c"))
	s.until("a b c")
	for range 12 {
		if code, _, err := s.get(); code != 200 {
			t.Errorf("got %d, %v", code, err)
		}
	}
	if open, _, _ := lines.of(a.Listener.Addr().String()); open != 1 {
		t.Errorf("%d connections to a, want one that is used again", open)
	}
}

// LeastPending sends to the instance that has less to do: with a request that never ended it would shun a, whatever
// has become of it since.
func TestARequestIsPendingNoLongerThanItsAnswer(t *testing.T) {
	s := newSite(t, &httptransport.Options{View: discovery.Options{Policy: discovery.LeastPending}})
	var mode atomic.Value
	mode.Store("")
	s.serve("a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("By", "a")
		switch mode.Load() {
		case "no content":
			w.WriteHeader(http.StatusNoContent)
		case "hang up":
			hangUp(w, r)
		case "cut off":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "silent":
			<-r.Context().Done()
		case "unavailable":
			w.WriteHeader(503)
		default:
			fmt.Fprint(w, "a")
		}
	})
	s.until("a")
	for _, m := range []string{"read", "closed unread", "no content", "hang up", "cut off", "silent", "unavailable"} {
		mode.Store(m)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			if m == "silent" {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			resp, err := s.Do(request(t, "GET", nil).WithContext(ctx))
			if err == nil {
				if m != "closed unread" {
					_, _ = io.ReadAll(resp.Body) // an error, where it is cut off
				}
				resp.Body.Close()
			}
			cancel()
		}
	}
	mode.Store("")
	s.serve("b", says("b"))
	s.until("a b")
	share := func() (atA int) {
		for range 400 {
			_, by, err := s.get()
			if err != nil {
				t.Fatal(err)
			}
			if by == "a" {
				atA++
			}
		}
		return atA
	}
	eventually(t, "a has cooled down", func() bool { _, by, _ := s.get(); return by == "a" })
	if n := share(); n < 160 || n > 240 {
		t.Errorf("with nothing under way a has %d of 400 requests, want half", n)
	}
	for by := ""; by != "a"; {
		resp, err := s.Do(request(t, "GET", nil))
		if err != nil {
			t.Fatal(err)
		}
		if by = resp.Header.Get("By"); by == "a" {
			defer resp.Body.Close()
		} else {
			resp.Body.Close()
		}
	}
	if n := share(); n > 160 {
		t.Errorf("void: with answers under way a has %d of 400 requests, want fewer", n)
	}
}

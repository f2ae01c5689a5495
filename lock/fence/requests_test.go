package fence_test

import (
	"context"
	"errors"
	"fmt"
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

func TestARequestThatWaitsForTooLongIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		h := fence.Handler(s, nil)
		older := later(h, request(t.Context(), http.MethodPut, 33))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := serve(h, request(ctx, http.MethodPut, 34))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "34 waited for 33") {
			t.Errorf("got %d %q, want 503 and which request it waited for", w.Code, w.Body)
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

func TestAHandlerThatPanicsHoldsUpNoOtherRequest(t *testing.T) {
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

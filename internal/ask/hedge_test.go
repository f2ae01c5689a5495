package ask_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// outcome is how a try ends: after some time, with an error or with its number as the answer.
type outcome struct {
	after time.Duration
	err   error
}

const never = 24 * time.Hour // a silent member

var (
	errUnsure  = status.Error(codes.Unavailable, "connection lost")
	errRefused = rpctypes.ErrNoLeader
	errFinal   = rpctypes.ErrPermissionDenied
)

// script makes a Hedge whose tries end as told, the last outcome for all that follow. Each is silent
// for at most a second before the next.
func script(outcomes ...outcome) (h *ask.Hedge[int], started func() []time.Duration) {
	begin := time.Now()
	var mu sync.Mutex
	var at []time.Duration
	return &ask.Hedge[int]{
			Silence: func(int) time.Duration { return time.Second },
			Try: func(ctx context.Context, n int) (int, error) {
				mu.Lock()
				at = append(at, time.Since(begin))
				mu.Unlock()
				o := outcomes[min(n, len(outcomes)-1)]
				select {
				case <-time.After(o.after):
					return n, o.err
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			},
		}, func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(at)
		}
}

func TestHedge(t *testing.T) {
	for _, test := range []struct {
		name     string
		outcomes []outcome
		most     int
		answer   int
		open     bool
		err      error
		took     time.Duration
		tries    int
	}{
		{"one answer is one try", []outcome{{after: 900 * time.Millisecond}}, 3, 0, false, nil, 900 * time.Millisecond, 1},
		{"a silent try gets another one, and may still be carried out", []outcome{{after: never}, {}}, 3, 1, true, nil, time.Second, 2},
		{"a slow try is not given up", []outcome{{after: 1500 * time.Millisecond}, {after: never}}, 3, 0, true, nil, 1500 * time.Millisecond, 2},
		{"a failure ends it when no try is under way", []outcome{{err: errUnsure}}, 3, 0, true, errUnsure, 0, 1},
		{"what is certainly not applied is not open", []outcome{{err: errRefused}}, 3, 0, false, errRefused, 0, 1},
		{"a failure waits for the tries under way", []outcome{{after: 1500 * time.Millisecond}, {err: errUnsure}}, 2, 0, true, nil, 1500 * time.Millisecond, 2},
		{"a refused try beside the answer is not open", []outcome{{after: 1500 * time.Millisecond}, {err: errRefused}}, 2, 0, false, nil, 1500 * time.Millisecond, 2},
		{"a final failure ends it at once", []outcome{{after: never}, {err: errFinal}}, 3, 0, true, errFinal, time.Second, 2},
		{"no space is final, too", []outcome{{after: never}, {err: rpctypes.ErrNoSpace}}, 3, 0, true, rpctypes.ErrNoSpace, time.Second, 2},
		{"a closed client is final", []outcome{{err: fmt.Errorf("x: %w", ask.ErrClosed)}}, 3, 0, false, ask.ErrClosed, 0, 1},
		{"no more than so many tries", []outcome{{after: 5 * time.Second, err: errUnsure}}, 3, 0, true, errUnsure, 7 * time.Second, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, started := script(test.outcomes...)
				h.Most = test.most
				begin := time.Now()
				answer, open, err := h.Run(t.Context())
				if !errors.Is(err, test.err) || answer != test.answer || open != test.open {
					t.Errorf("got %d, open %v, %v; want %d, %v, %v", answer, open, err, test.answer, test.open, test.err)
				}
				if took := time.Since(begin); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if n := len(started()); n != test.tries {
					t.Errorf("%d tries, want %d", n, test.tries)
				}
			})
		})
	}
}

func TestHedgeWaitsForItsTriesAndDropsLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped []int
		h := &ask.Hedge[int]{
			Silence: func(int) time.Duration { return time.Second },
			Try: func(_ context.Context, n int) (int, error) { // without regard to ctx
				time.Sleep([]time.Duration{5 * time.Second, time.Second}[n])
				return n, nil
			},
			Most: 2,
			Drop: func(n int) { dropped = append(dropped, n) },
		}
		begin := time.Now()
		answer, open, err := h.Run(t.Context())
		if answer != 1 || !open || err != nil || !slices.Equal(dropped, []int{0}) || time.Since(begin) != 5*time.Second {
			t.Errorf("got %d, open %v, %v, dropped %v after %v; want 1, open, and 0 dropped after 5s", answer, open, err, dropped, time.Since(begin))
		}
	})
}

func TestTheEndOfTheContextEndsAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		h, started := script(outcome{after: never})
		begin := time.Now()
		_, open, err := h.Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !open || time.Since(begin) != 2500*time.Millisecond || len(started()) != 3 {
			t.Errorf("got %v, open %v after %v and %d tries", err, open, time.Since(begin), len(started()))
		}

		_, open, err = h.Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || open || len(started()) != 3 {
			t.Errorf("a context that has ended: got %v, open %v, %d tries; want its error, and no try", err, open, len(started())-3)
		}

		carriedOut := errors.New("not used")
		ctx, stop := context.WithCancelCause(t.Context())
		h.Try = func(ctx context.Context, n int) (int, error) {
			stop(carriedOut)
			<-ctx.Done()
			return 7, nil // it had been carried out by then
		}
		if answer, _, err := h.Run(ctx); answer != 7 || err != nil {
			t.Errorf("answered at the context's end: got %d, %v; want the answer", answer, err)
		}
	})
}

func TestHedgesShareTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := make(chan struct{}, 2)
		var all sync.WaitGroup
		var counts []func() []time.Duration
		for range 3 {
			h, started := script(outcome{after: 3500 * time.Millisecond})
			h.Room = room
			counts = append(counts, started)
			all.Go(func() { _, _, _ = h.Run(t.Context()) })
		}
		all.Wait()
		n := 0
		for _, started := range counts {
			n += len(started())
		}
		if n != 3+2 || len(room) != 0 {
			t.Errorf("%d tries, and %d places taken after them; want 5 and none", n, len(room))
		}
	})
}

// fakeGate is an outage on demand.
type fakeGate struct {
	done   chan struct{}
	outage error
	ends   chan struct{}

	answered int
	failures []error
}

func newFakeGate() *fakeGate { return &fakeGate{done: make(chan struct{}), ends: make(chan struct{})} }

func (g *fakeGate) Done() <-chan struct{} { return g.done }
func (g *fakeGate) Outage() error         { return g.outage }
func (g *fakeGate) Answered()             { g.answered++ }
func (g *fakeGate) Failed(err error)      { g.failures = append(g.failures, err) }
func (g *fakeGate) Await(ctx context.Context) error {
	select {
	case <-g.ends:
		g.outage = nil
		return nil
	case <-g.done:
		return ask.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestAHedgeWithPausesGoesOnUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGate()
		h, started := script(outcome{err: errRefused}, outcome{err: errUnsure}, outcome{after: never}, outcome{after: 200 * time.Millisecond})
		var told []string
		h.Outages = g
		h.Pause = func(n int, err error) time.Duration { return time.Duration(n+1) * 10 * time.Second }
		h.Failed = func(n int, err error) bool {
			told = append(told, fmt.Sprint(n, " ", err))
			return false
		}
		answer, open, err := h.Run(t.Context())
		if answer != 3 || !open || err != nil {
			t.Errorf("got %d, open %v, %v; want 3, open", answer, open, err)
		}
		if want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 31 * time.Second}; !slices.Equal(started(), want) {
			t.Errorf("tries at %v, want %v", started(), want)
		}
		if want := []string{"0 " + errRefused.Error(), "1 " + errUnsure.Error(), "2 no answer within 1s"}; !slices.Equal(told, want) {
			t.Errorf("Failed was told %q, want %q", told, want)
		}
		if g.answered != 1 || len(g.failures) != 2 { // a refusal is an answer
			t.Errorf("the client was told of %d answers and %v; want 1, and what had no answer", g.answered, g.failures)
		}
	})
}

func TestAHedgeMakesNoTryInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGate()
		g.outage = errors.New("nothing answers")
		h, started := script(outcome{})
		h.Outages = g
		told := 0
		h.Failed = func(n int, err error) bool {
			if n != -1 || err != g.outage {
				t.Errorf("Failed(%d, %v), want -1 and the outage", n, err)
			}
			told++
			return false
		}
		time.AfterFunc(time.Minute, func() { close(g.ends) })
		if _, open, err := h.Run(t.Context()); open || err != nil || told != 1 {
			t.Errorf("got open %v, %v, told %d times", open, err, told)
		}
		if want := []time.Duration{time.Minute}; !slices.Equal(started(), want) {
			t.Errorf("tries at %v, want %v", started(), want)
		}

		g.outage, g.ends = errors.New("again"), make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.Failed = nil
		if _, open, err := h.Run(ctx); open || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an outage longer than the context: open %v, %v", open, err)
		}
		close(g.done)
		if _, _, err := h.Run(t.Context()); !errors.Is(err, ask.ErrClosed) {
			t.Errorf("the client is closed meanwhile: %v, want ErrClosed", err)
		}
		if len(started()) != 1 {
			t.Errorf("%d tries, want none in an outage", len(started())-1)
		}
	})
}

func TestAHedgeEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGate()
		h, _ := script(outcome{after: never})
		h.Outages = g
		time.AfterFunc(time.Minute, func() { close(g.done) })
		if _, open, err := h.Run(t.Context()); !open || !errors.Is(err, ask.ErrClosed) {
			t.Errorf("got open %v, %v; want open, and ErrClosed", open, err)
		}
	})
}

func TestJitterDoublesItsCeiling(t *testing.T) {
	j := ask.Jitter{First: 50 * time.Millisecond, Most: time.Second}
	for range 2 {
		for _, ceiling := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
			if d := j.Next(); d <= 0 || d > ceiling*time.Millisecond {
				t.Errorf("got a pause of %v, want one up to %v", d, ceiling*time.Millisecond)
			}
		}
		j.Reset()
	}
}

func TestAHedgeEndsWithItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := script(outcome{after: never})
		h.Timeout = 2500 * time.Millisecond
		began := time.Now()
		_, open, err := h.Run(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || !open || time.Since(began) != h.Timeout {
			t.Errorf("%v, open %v, after %v, want the deadline, open, after %v", err, open, time.Since(began), h.Timeout)
		}
	})
}

package grpcresolver_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// load are workers that make one RPC after the other, each on a connection of its own.
type load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	calls int
	by    map[string]int // answers, by address
	errs  map[*grpc.ClientConn][]error
}

// begin starts n workers, of whose RPCs there are no more than rate a second in all; 0: no bound.
func begin(t *testing.T, n, rate int, connect func() *grpc.ClientConn) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, by: make(map[string]int), errs: make(map[*grpc.ClientConn][]error)}
	t.Cleanup(func() { l.end() })
	for range n {
		conn := connect()
		l.wg.Go(func() { // ends with end
			began := time.Now()
			for k := 0; ctx.Err() == nil; k++ {
				if rate > 0 {
					due := time.Duration(k) * time.Second * time.Duration(n) / time.Duration(rate)
					select {
					case <-time.After(time.Until(began.Add(due))):
					case <-ctx.Done():
						return
					}
				}
				l.call(ctx, conn)
			}
		})
	}
	return l
}

func (l *load) call(ctx context.Context, conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	addr, err := call(ctx, conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if err != nil {
		l.errs[conn] = append(l.errs[conn], err)
		return
	}
	l.by[addr]++
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// more waits until n more RPCs have been answered, and returns which servers answered them.
func (l *load) more(t *testing.T, n int) map[string]int {
	t.Helper()
	was, ctx := l.answers(), bounded(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		now, sum := l.answers(), 0
		for addr := range now {
			if now[addr] -= was[addr]; now[addr] == 0 {
				delete(now, addr)
			}
			sum += now[addr]
		}
		if sum >= n {
			return now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d RPCs are answered, want %d more; errors %v", sum, n, l.failures())
		}
	}
}

func (l *load) answers() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.by)
}

func (l *load) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []error
	for _, errs := range l.errs {
		all = append(all, errs...)
	}
	return all
}

// worst is how many RPCs of one connection failed, at most, and one of the errors.
func (l *load) worst() (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, errs := range l.errs {
		if len(errs) > n {
			n, err = len(errs), errs[0]
		}
	}
	return n, err
}

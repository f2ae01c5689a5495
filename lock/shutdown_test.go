package lock_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

// closer is what all of them are.
type closer interface {
	Close() error
	Shutdown(ctx context.Context) error
}

// held are one of each, with a hold or a term.
func held(t *testing.T, cli *clientv3.Client, prefix string) (all map[string]closer, lost []func() error) {
	t.Helper()
	m, rw := lock.New(cli, prefix+"mutex", nil), lock.NewRW(cli, prefix+"rw", nil)
	s, e := lock.NewSemaphore(cli, prefix+"semaphore", 3, nil), election.New(cli, prefix+"election", nil)
	for _, acquire := range []func() (*lock.Hold, error){
		func() (*lock.Hold, error) { return m.Acquire(bounded(t)) },
		func() (*lock.Hold, error) { return rw.AcquireRead(bounded(t)) },
		func() (*lock.Hold, error) { return s.Acquire(bounded(t)) },
	} {
		h, err := acquire()
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, h.Err)
	}
	term, err := e.Campaign(bounded(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	lost = append(lost, term.Err)
	return map[string]closer{"Mutex": m, "RWMutex": rw, "Semaphore": s, "Election": e}, lost
}

func TestShutdownEndsWhatIsHeldWhileEtcdAnswers(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	all, lost := held(t, cli, prefix)
	for what, c := range all {
		if err := c.Shutdown(bounded(t)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: Close after Shutdown: %v", what, err)
		}
	}
	for _, err := range lost {
		if err := err(); !errors.Is(err, lock.ErrLost) && !errors.Is(err, election.ErrLost) {
			t.Errorf("what was held: %v, want ErrLost", err)
		}
	}
	if n := count(t, cli, prefix); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// One after the other, as a process does that leaves.
func TestShutdownAndCloseAreShortWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	shut, _ := held(t, etcdtest.Client(t, c), "shut/")
	closed, _ := held(t, etcdtest.Client(t, c), "closed/")
	for _, name := range c.Names() {
		if _, err := c.Pause(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	for _, h := range shut {
		_ = h.Shutdown(ctx) // that it could not revoke
	}
	if took := time.Since(began); took > time.Second && !means.Race {
		t.Errorf("Shutdown took %v, want the 300 ms of its context", took)
	}
	began = time.Now()
	for _, h := range closed {
		_ = h.Close()
	}
	if took := time.Since(began); took > 3*time.Second && !means.Race {
		t.Errorf("closing all took %v, want 2 s", took)
	}
	t.Logf("closed all in %v", time.Since(began))
	took := means.Fastest(func() time.Duration {
		never := election.New(etcdtest.Client(t, c), "never", nil)
		began := time.Now()
		if err := never.Close(); err != nil {
			t.Errorf("an Election that never asked anything: %v", err)
		}
		return time.Since(began)
	})
	if took > 200*time.Millisecond && !means.Race {
		t.Errorf("an Election that never asked anything closes after %v, want at once", took)
	}
	closeWhatTried(t, etcdtest.Client(t, c))
}

// closeWhatTried closes handles that were opened in an outage, and whose calls had no answer.
func closeWhatTried(t *testing.T, cli *clientv3.Client) {
	t.Helper()
	e, m := election.New(cli, "tried", nil), lock.New(cli, "tried too", nil)
	r, err := registry.New(cli, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	calls := map[string]func() error{
		"Campaign": func() error { _, err := e.Campaign(ctx, "x"); return err },
		"Acquire":  func() error { _, err := m.Acquire(ctx); return err },
		"Register": func() error {
			_, err := r.Register(ctx, registry.Instance{Service: "web", Addr: "10.0.0.1:80"})
			return err
		},
	}
	var calling sync.WaitGroup
	for what, call := range calls {
		calling.Go(func() {
			if err := call(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want its deadline", what, err)
			}
		})
	}
	calling.Wait()
	began := time.Now()
	for _, h := range []closer{e, m, r} {
		_ = h.Close() // that it could not be asked whether anything is left
	}
	took := time.Since(began)
	t.Logf("closed what had tried in %v", took)
	if took > 2200*time.Millisecond && !means.Race {
		t.Errorf("closing what had tried took %v, want 2 s", took)
	}
}

// The next in line has given up, so that its turn, which comes with the answer to a Release, ends in the
// background. etcd does not answer the Release.
func TestShutdownWaitsForNoAnswerToARelease(t *testing.T) {
	t.Parallel()
	for what, own := range map[string]bool{"with leases of its own": true, "beside a shared Keeper": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			shared, prefix := etcdtest.New(t)
			var silent atomic.Bool
			releasing := make(chan struct{}, 10)
			cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
				grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
					if silent.Load() && strings.HasSuffix(method, "/Txn") {
						releasing <- struct{}{}
						<-ctx.Done()
						return ctx.Err()
					}
					return send(ctx, method, req, reply, cc, opts...)
				}),
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cli.Close() })
			opts, limit := lock.Options{TTL: time.Minute}, within
			if !own { // whose leases go on, so that the Release may succeed yet
				opts, limit = lock.Options{Keeper: shortKeeper(t, cli, time.Minute)}, 300*time.Millisecond
			}
			m := withOptions(t, cli, prefix+"lock", opts)
			h := acquire(t, m)
			next, giveUp := context.WithCancel(t.Context())
			gaveUp := make(chan struct{})
			go func() { // waited for below
				defer close(gaveUp)
				_, _ = m.Acquire(next)
			}()
			for m.Stats().Waiting == 0 {
				<-time.After(time.Millisecond)
			}
			<-time.After(50 * time.Millisecond) // most likely it is in line by then
			silent.Store(true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			released := make(chan struct{})
			go func() { // waited for below
				defer close(released)
				_ = h.Release(ctx)
			}()
			happens(t, "it is released", releasing)
			giveUp()
			<-gaveUp
			over := make(chan struct{})
			go func() { // waited for below
				defer close(over)
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if err := m.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			}()
			select {
			case <-over:
			case <-time.After(6 * time.Second): // a Release is given up after 10 s
				t.Error("it does not end")
			}
			cancel()
			<-released
			<-over
		})
	}
}

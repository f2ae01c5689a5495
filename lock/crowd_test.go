package lock_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/internal/queuetest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// smallCrowd is how many wait in the tests that always run. The race detector has a limit on goroutines.
const smallCrowd = 200

// counting returns a client that counts its unary requests, but for keepalives, and what it sends on
// watch streams.
func counting(t testing.TB, endpoints []string) (cli *clientv3.Client, requests, watches *atomic.Int64) {
	t.Helper()
	requests, watches = new(atomic.Int64), new(atomic.Int64)
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			requests.Add(1)
			return send(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, d, cc, method, opts...)
			if err != nil || !strings.HasSuffix(method, "/Watch") {
				return s, err
			}
			return &countedStream{s, watches}, nil
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli, requests, watches
}

type countedStream struct {
	grpc.ClientStream
	sent *atomic.Int64
}

func (s *countedStream) SendMsg(m any) error {
	s.sent.Add(1)
	return s.ClientStream.SendMsg(m)
}

// median is of how long f takes.
func median(n int, f func()) time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		began := time.Now()
		f()
		all[i] = time.Since(began)
	}
	slices.Sort(all)
	return all[n/2]
}

func put(t testing.TB, cli *clientv3.Client, key string) func() {
	return func() {
		if _, err := cli.Put(bounded(t), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
}

// crowds are ways to stand in one queue.
var crowds = map[string]func(t testing.TB, cli *clientv3.Client, name string, keeper *lease.Keeper, i int) func(context.Context) (*lock.Hold, error){
	"each its own Mutex": func(t testing.TB, cli *clientv3.Client, name string, keeper *lease.Keeper, _ int) func(context.Context) (*lock.Hold, error) {
		m := lock.New(cli, name, &lock.Options{Keeper: keeper})
		t.Cleanup(func() { m.Close() })
		return func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }
	},
	"RWMutexes": func(t testing.TB, cli *clientv3.Client, name string, keeper *lease.Keeper, i int) func(context.Context) (*lock.Hold, error) {
		m := lock.NewRW(cli, name, &lock.SharedOptions{Keeper: keeper})
		t.Cleanup(func() { m.Close() })
		if i%3 == 0 {
			return func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }
		}
		return func(ctx context.Context) (*lock.Hold, error) { return m.AcquireRead(ctx) }
	},
	"Semaphores": func(t testing.TB, cli *clientv3.Client, name string, keeper *lease.Keeper, _ int) func(context.Context) (*lock.Hold, error) {
		s := lock.NewSemaphore(cli, name, 3, &lock.SharedOptions{Keeper: keeper})
		t.Cleanup(func() { s.Close() })
		return func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) }
	},
}

// gather has n wait for one lock, which another client holds, and returns how it goes on. Each that has
// its turn tells, and releases.
func gather(t testing.TB, cli *clientv3.Client, name, kind string, n int, keeper *lease.Keeper) (release func(), turns <-chan turn, done func()) {
	t.Helper()
	leave := stranger(t, cli, name, 1)
	all := make(chan turn, n)
	var waiting sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	for i := range n {
		acquire := crowds[kind](t, cli, name, keeper, i)
		waiting.Go(func() {
			h, err := acquire(ctx)
			if err != nil {
				all <- turn{err: err}
				return
			}
			all <- turn{time.Now(), h.Token(), nil}
			if err := h.Release(ctx); err != nil {
				t.Errorf("release: %v", err)
			}
		})
	}
	for count(t, cli, name+"/") != int64(n+1) {
		select {
		case turn := <-all:
			t.Fatalf("one of those who wait: %+v", turn)
		case <-ctx.Done():
			t.Fatal("they do not come")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return leave, all, waiting.Wait
}

type turn struct {
	at    time.Time
	token int64
	err   error
}

// pace is how a crowd had its turns: what was between one and the next, and what a Put took before.
type pace struct{ median, worst, put time.Duration }

// handOvers has all of a crowd have their turns.
func handOvers(t *testing.T, kind string, n int, each bool) pace {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	put := median(50, func() { _, _ = cli.Put(bounded(t), prefix+"put", "x") })
	var keeper *lease.Keeper
	if !each {
		keeper = lease.NewKeeper(cli, nil)
		t.Cleanup(func() { keeper.Close() })
	}
	leave, turns, done := gather(t, cli, name, kind, n, keeper)
	leave()
	began, last, all := time.Now(), turn{}, make([]time.Duration, 0, n)
	for range n {
		var next turn
		select {
		case next = <-turns:
		case <-time.After(stall):
			t.Fatalf("after %d turns: none for %v", len(all), stall)
		}
		if next.err != nil {
			t.Fatalf("after %d turns: %v", len(all), next.err)
		}
		if kind == "each its own Mutex" && next.token < last.token {
			t.Errorf("turn %d has token %d, the one before %d: want first come, first served", len(all), next.token, last.token)
		}
		if last.err == nil && !last.at.IsZero() {
			all = append(all, next.at.Sub(last.at))
		}
		last = next
	}
	took := time.Since(began)
	done()
	slices.Sort(all)
	p := pace{all[len(all)/2], all[len(all)-1], put}
	t.Logf("%d %s: all within %v, %v each, median %v, worst %v; a Put %v", n, kind, took, took/time.Duration(n), p.median, p.worst, put)
	return p
}

// stall is the longest time without a turn, where no other time is asserted.
const stall = 20 * time.Second

// smoothly has all of a crowd have their turns. A hand-over must take at most four times what a Put
// does, and none as long as worst.
func smoothly(t *testing.T, kind string, n int, worst time.Duration) {
	t.Helper()
	var p pace
	for range 2 { // once is enough: the machine has other work
		p = handOvers(t, kind, n, false)
		if means.Race || p.median <= 4*p.put && p.worst <= worst {
			return
		}
	}
	t.Errorf("a hand-over took %.1f × a Put, and the longest one %v: want 4, and %v", float64(p.median)/float64(p.put), p.worst, worst)
}

func TestACrowdHasItsTurnsInOrderAndLosesNoLease(t *testing.T) {
	for kind := range crowds {
		t.Run(kind, func(t *testing.T) {
			n := smallCrowd
			if kind == "each its own Mutex" && !means.Race {
				n = 1000
			}
			smoothly(t, kind, n, 2*time.Second)
		})
	}
	t.Run("each its own lease", func(t *testing.T) { handOvers(t, "each its own Mutex", smallCrowd/4, true) })
}

// idle returns how many requests a crowd makes that waits.
func idle(t *testing.T, kind string, n int, asks time.Duration) {
	t.Helper()
	shared, prefix := etcdtest.New(t)
	cli, requests, watches := counting(t, shared.Endpoints())
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	leave, turns, done := gather(t, cli, prefix+"lock", kind, n, keeper)
	queuetest.AwaitQuiet(t, requests)
	requests.Store(0)
	watches.Store(0)
	began := time.Now()
	<-time.After(asks)
	took := time.Since(began)
	t.Logf("%d %s wait: %d requests in %v, and %d messages on watches", n, kind, requests.Load(), took, watches.Load())
	if n := requests.Load(); n > 0 {
		t.Errorf("%d requests, want none", n)
	}
	if n, most := watches.Load(), int64(took/(2*time.Second))+1; n > most {
		t.Errorf("%d messages on watches, want %d: one every 2 s for the client", n, most)
	}
	leave()
	for range n {
		if turn := <-turns; turn.err != nil {
			t.Fatal(turn.err)
		}
	}
	done()
}

func TestWaitingCostsNoRequests(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup // side by side, as they do nothing
	defer all.Wait()
	run := func(name string, f func(t *testing.T)) { all.Go(func() { t.Run(name, f) }) }
	for kind := range crowds {
		run(kind, func(t *testing.T) { idle(t, kind, smallCrowd, 7*time.Second) })
	}
	for _, n := range []int{1, 5} { // which watch their own keys and those before them
		run(fmt.Sprintf("%d far behind", n), func(t *testing.T) {
			shared, prefix := etcdtest.New(t)
			name := prefix + "lock"
			stranger(t, shared, name, 6)
			cli, requests, watches := counting(t, shared.Endpoints())
			ctx, cancel := context.WithCancel(t.Context())
			var waiting []*waiter
			for i := range n {
				m := mutex(t, cli, name)
				waiting = append(waiting, queued(t, shared, name, int64(6+i+1), func(context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }))
			}
			<-time.After(2 * time.Second)
			requests.Store(0)
			watches.Store(0)
			<-time.After(7 * time.Second)
			if r, w := requests.Load(), watches.Load(); r > 0 || w > 4 {
				t.Errorf("%d requests and %d messages on watches, want none and 4 at most", r, w)
			}
			cancel()
			for _, w := range waiting {
				<-w.err
			}
		})
	}
}

func TestHoldingCostsNoRequests(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, requests, watches := counting(t, shared.Endpoints())
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	var holds []*lock.Hold
	for i := range smallCrowd {
		m := lock.New(cli, fmt.Sprint(prefix, "own", i), &lock.Options{Keeper: keeper})
		r := lock.NewRW(cli, prefix+"shared", &lock.SharedOptions{Keeper: keeper})
		t.Cleanup(func() { m.Close(); r.Close() })
		holds = append(holds, acquire(t, m), must(t)(r.AcquireRead(bounded(t))))
	}
	for _, h := range holds {
		watched(t, shared, h)
	}
	<-time.After(time.Second)
	requests.Store(0)
	watches.Store(0)
	<-time.After(7 * time.Second)
	if r, w := requests.Load(), watches.Load(); r > 0 || w > 4 {
		t.Errorf("%d requests and %d messages on watches, want none and 4 at most", r, w)
	}
	for _, h := range holds {
		if err := h.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A hold that is shorter than a second costs its two requests and nothing else.
func TestAShortHoldCostsTwoRequests(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, requests, watches := counting(t, shared.Endpoints())
	m, rw, s := mutex(t, cli, prefix+"mutex"), rwmutex(t, cli, prefix+"rw"), semaphore(t, cli, prefix+"semaphore", 3)
	for kind, acquire := range map[string]func(context.Context) (*lock.Hold, error){
		"Mutex":            func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) },
		"RWMutex to write": write(rw),
		"RWMutex to read":  read(rw),
		"Semaphore":        func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) },
	} {
		t.Run(kind, func(t *testing.T) {
			release(t, must(t)(acquire(bounded(t)))) // it has a lease from now on
			const n = 50
			for range 3 { // once is enough: what is not answered for long is asked again
				requests.Store(0)
				watches.Store(0)
				for range n {
					release(t, must(t)(acquire(bounded(t))))
				}
				if requests.Load() == 2*n {
					break
				}
			}
			if r, w := requests.Load(), watches.Load(); r != 2*n || w > 0 {
				t.Errorf("%d holds: %d requests and %d messages on watches, want %d and none", n, r, w, 2*n)
			}
		})
	}
}

// Each cancels while all wait: those behind it go on to wait for the one before it.
func TestACrowdGoesOnThoughEverySecondWaiterGivesUp(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	leave := stranger(t, cli, name, 1)
	giveUp, cancel := context.WithCancel(t.Context())
	defer cancel()
	var gaveUp, waiting sync.WaitGroup
	var had atomic.Int64
	for i := range smallCrowd {
		m := lock.New(cli, name, &lock.Options{Keeper: keeper})
		t.Cleanup(func() { m.Close() })
		ctx, group := bounded(t), &waiting
		if i%2 == 0 {
			ctx, group = giveUp, &gaveUp
		}
		group.Go(func() {
			h, err := m.Acquire(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			had.Add(1)
			if err := h.Release(bounded(t)); err != nil {
				t.Error(err)
			}
		})
		for count(t, cli, name+"/") != int64(i+2) {
		}
	}
	cancel()
	gaveUp.Wait()
	leave()
	waiting.Wait()
	if n := had.Load(); n != smallCrowd/2 {
		t.Errorf("%d had the lock, want %d", n, smallCrowd/2)
	}
}

// A writer reads who is ahead, and while the answer is under way the watch tells that all of them are gone.
func TestADeletionDuringAReadIsNotForgotten(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	other := another(t, cli)
	name := prefix + "lock"
	leave := stranger(t, other, name, 1)
	g := gate(cli)
	m := rwmutex(t, cli, name)
	reader := queued(t, other, name, 2, read(m)) // its client hears all deletions
	const strangers = 5
	for i := range strangers {
		put(t, other, fmt.Sprintf("%s/r0-%d", name, i))()
	}
	var once sync.Once
	answered := make(chan struct{})
	var looked atomic.Bool
	rig(cli).meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		resp, err := commit()
		if ops[0].IsGet() && looked.Load() {
			once.Do(func() {
				if _, err := other.Delete(bounded(t), name+"/r0-", clientv3.WithPrefix()); err != nil {
					t.Error(err)
				}
				for ctx := bounded(t); g.heard(name+"/") < strangers && ctx.Err() == nil; {
					<-time.After(time.Millisecond)
				}
				close(answered)
			})
		}
		return resp, err
	})
	writer := queued(t, other, name, 3+strangers, write(m))
	<-time.After(time.Second) // it listens
	looked.Store(true)
	if _, err := other.Delete(bounded(t), fmt.Sprintf("%s/r0-%d", name, strangers-1)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-answered:
	case <-bounded(t).Done():
		t.Fatal("void: it did not read the queue")
	}
	<-time.After(100 * time.Millisecond) // it listens again, while the reader keeps the watch open
	leave()
	release(t, reader.gets(t))
	began := time.Now()
	h := writer.gets(t)
	if took := time.Since(began); took > 3*time.Second { // the watch is closed, and opened again, after 5 s
		t.Errorf("held %v after the last one ahead had gone", took)
	}
	release(t, h)
}

package lock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

const (
	// workerEnv makes this test binary a process that acquires the lock of a name at endpoints and
	// says so, and that it waits if it does; on a line of its stdin it commits a write, or begins to
	// write under its guard until that is refused; and it says when its hold is over. It is NAME@TTL@ENDPOINTS.
	workerEnv = "ETCDKIT_TEST_LOCK"
	workerTTL = 2 * time.Second
)

func work(job string) int {
	name, rest, _ := strings.Cut(job, "@")
	ttl, endpoints, _ := strings.Cut(rest, "@")
	lasts, err := time.ParseDuration(ttl)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var held atomic.Bool // a hold that lasts is watched, too
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(endpoints, ","), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{onWatch(sync.OnceFunc(func() {
			if !held.Load() {
				fmt.Println("waits")
			}
		}))},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	h, err := lock.New(cli, name, &lock.Options{TTL: lasts}).Acquire(context.Background())
	if err != nil {
		fmt.Println("lost:", errors.Is(err, lock.ErrLost))
		return 0
	}
	held.Store(true)
	fmt.Println("held:", h.Token())
	go func() { // ends with the process
		<-h.Done()
		fmt.Println("done:", errors.Is(h.Err(), lock.ErrLost))
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "write" {
			go func() { // ends with the process
				for writes := 0; ; writes++ {
					if !fencedWrite(context.Background(), h, name+"-written") {
						fmt.Println("refused")
						return
					}
					if writes == 10 {
						fmt.Println("writes")
					}
				}
			}()
			continue
		}
		_, err := h.Commit(context.Background(), clientv3.OpPut(name+"-written", "by "+strconv.FormatInt(h.Token(), 10)))
		fmt.Println("committed:", err == nil, "lost:", errors.Is(err, lock.ErrLost))
	}
	return 0
}

// fencedWrite writes the token of a hold under its guard, and is false when that was refused. A write
// without an answer is done again.
func fencedWrite(ctx context.Context, h *lock.Hold, key string) bool {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, time.Second)
		resp, err := h.Txn(try).Then(clientv3.OpPut(key, strconv.FormatInt(h.Token(), 10))).Commit()
		cancel()
		if err == nil {
			return resp.Succeeded
		}
	}
	return false
}

// onWatch has a client call f when it opens a stream for watches. Who waits for a lock does so, once
// it knows that it is in the queue: the entry may be in etcd before.
func onWatch(f func()) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if strings.HasSuffix(method, "/Watch") {
			f()
		}
		return open(ctx, d, cc, method, opts...)
	})
}

// worker is such a process.
type worker struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines *bufio.Scanner
}

func startWorker(t *testing.T, name string, endpoints []string) *worker {
	t.Helper()
	return startWorkerFor(t, name, workerTTL, endpoints)
}

func startWorkerFor(t *testing.T, name string, ttl time.Duration, endpoints []string) *worker {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(exe)}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+name+"@"+ttl.String()+"@"+strings.Join(endpoints, ","))
	out, e1 := w.cmd.StdoutPipe()
	in, e2 := w.cmd.StdinPipe()
	if err := errors.Join(e1, e2, w.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	w.stdin, w.lines = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it may be dead already
		_ = w.cmd.Wait()         // killed, it says
	})
	return w
}

func (w *worker) says(t *testing.T, want string) string {
	t.Helper()
	if !w.lines.Scan() {
		t.Fatalf("the worker ended, want %q", want)
	}
	rest, ok := strings.CutPrefix(w.lines.Text(), want)
	if !ok {
		t.Fatalf("the worker says %q, want %q", w.lines.Text(), want)
	}
	return rest
}

func (w *worker) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Fault 1: the holder stands still for longer than its lease.
func TestAHolderThatStoodStillWritesNothing(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	w := startWorker(t, "lock", c.Endpoints())
	w.says(t, "held: ")
	w.signal(t, syscall.SIGSTOP)
	m := mutex(t, cli, "lock")
	h := acquire(t, m) // as its lease has ended
	w.signal(t, syscall.SIGCONT)
	began := time.Now()
	if _, err := io.WriteString(w.stdin, "commit\n"); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 2 { // in either order
		got[w.says(t, "")] = true
	}
	t.Logf("%v after it went on it knew", time.Since(began))
	if !got["done: true"] || !got["committed: false lost: true"] {
		t.Errorf("the worker says %v, want the hold lost and nothing committed", got)
	}
	if n := count(t, cli, "lock-written"); n != 0 {
		t.Error("what it committed was written")
	}
	release(t, h)
}

// Fault 1, with fenced writes all the time: of two that believe to hold the lock, etcd takes the
// writes of the newer one alone.
func TestNoWriteWithAnOlderTokenIsAcceptedThoughItsHolderStoodStill(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	for _, ttl := range ttls {
		for _, times := range pauses {
			pause := time.Duration(times * float64(ttl))
			t.Run(fmt.Sprintf("TTL %v, stopped for %v", ttl, pause), func(t *testing.T) {
				t.Parallel()
				name := fmt.Sprint("lock-", ttl, "-", times)
				w := startWorkerFor(t, name, ttl, c.Endpoints())
				w.says(t, "held: ")
				tell := func(line string) {
					if _, err := io.WriteString(w.stdin, line+"\n"); err != nil {
						t.Fatal(err)
					}
				}
				tell("write")
				w.says(t, "writes") // void if it did not
				w.signal(t, syscall.SIGSTOP)
				over := time.After(pause)
				h := acquire(t, withOptions(t, cli, name, lock.Options{TTL: ttl})) // as its lease has ended
				writes := 0
				write := func() {
					if fencedWrite(bounded(t), h, name+"-written") {
						writes++
					}
				}
				least := bounded(t)
				for going := true; going || writes < 10 && least.Err() == nil; write() {
					select {
					case <-over:
						going = false
					default:
					}
				}
				w.signal(t, syscall.SIGCONT)
				began := time.Now()
				var done time.Duration
				for got := map[string]bool{}; !got["refused"] || !got["done: true"]; write() {
					line := w.says(t, "")
					if got[line] = true; line == "done: true" {
						done = time.Since(began)
					}
				}
				t.Logf("it was told that its hold is over %v after SIGCONT", done)
				if writes < 10 {
					t.Errorf("void: the next holder wrote %d times", writes)
				}
				increasing(t, cli, name+"-written")
				release(t, h)
			})
		}
	}
}

// increasing reads the history of a key whose values are tokens.
func increasing(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	now, err := cli.Get(bounded(t), key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	var last int64
	for resp := range cli.Watch(ctx, key, clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			token, err := strconv.ParseInt(string(ev.Kv.Value), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if token < last {
				t.Errorf("at revision %d etcd took a write with token %d after one with %d", ev.Kv.ModRevision, token, last)
			}
			last = token
			if ev.Kv.ModRevision >= now.Kvs[0].ModRevision {
				return
			}
		}
	}
	t.Fatal("the history ends early")
}

// Fault 2: the holder dies; and etcd's leader, too, whose successor starts the lease's time anew.
func TestTheNextOneHasItWhenTheLeaseOfADeadHolderEnds(t *testing.T) {
	for _, ttl := range ttls {
		for _, change := range []bool{false, true} {
			t.Run(fmt.Sprintf("TTL %v, etcd has another leader: %t", ttl, change), func(t *testing.T) {
				if len(ttls) > 1 {
					t.Parallel()
				}
				c := etcdtest.NewCluster(t, nil)
				cli := etcdtest.Client(t, c)
				w := startWorkerFor(t, "lock", ttl, c.Endpoints())
				w.says(t, "held: ")
				waits := queued(t, cli, "lock", 2, func(ctx context.Context) (*lock.Hold, error) {
					return withOptions(t, cli, "lock", lock.Options{TTL: 10 * time.Second}).Acquire(ctx)
				})
				w.signal(t, syscall.SIGKILL)
				began, most := time.Now(), ttl+1500*time.Millisecond
				if change {
					most = 2*ttl + 3*time.Second
					<-time.After(ttl / 2) // the worse for it the later; but before the lease ends
					before := c.Leader()
					if _, err := c.Kill(t.Context(), before); err != nil {
						t.Fatal(err)
					}
					if c.Leader() == before {
						t.Fatal("void: the leader is the same")
					}
				}
				h := waits.gets(t)
				took := time.Since(began)
				t.Logf("held %v after it died", took)
				if took > most && !race {
					t.Errorf("held after %v, want %v at the most", took, most)
				}
				release(t, h)
			})
		}
	}
}

// Fault 3: a waiter stands still for longer than its lease.
func TestAWaiterThatStoodStillDoesNotGetIt(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	h := acquire(t, mutex(t, cli, "lock"))
	w := startWorker(t, "lock", c.Endpoints())
	w.says(t, "waits")
	w.signal(t, syscall.SIGSTOP)
	for ctx := bounded(t); count(t, cli, "lock/") != 1; { // its lease has ended
		if ctx.Err() != nil {
			t.Fatal("the waiter's entry stays")
		}
	}
	w.signal(t, syscall.SIGCONT)
	w.says(t, "lost: true")
	if err := h.Err(); err != nil {
		t.Errorf("the holder, who ran all the time: %v", err)
	}
	release(t, h)
}

// gated returns a client behind a gate.
func gated(t *testing.T, cli *clientv3.Client) (*etcdtest.Gate, *clientv3.Client) {
	t.Helper()
	gate := etcdtest.NewGate(t, cli.Endpoints()[0])
	through, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { through.Close() })
	return gate, through
}

// Fault 4: the answer to the transaction that brings the entry into the queue is lost.
func TestAnAnswerThatGetsLostLeavesNoOrphan(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, wait := range []bool{true, false} {
		t.Run(fmt.Sprintf("the caller waits on %t", wait), func(t *testing.T) {
			gate, through := gated(t, cli)
			name := fmt.Sprintf("%s%t", prefix, wait)
			m := mutex(t, through, name)
			release(t, acquire(t, m)) // it has a lease now
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			gate.DropAnswers()
			type result struct {
				h   *lock.Hold
				err error
			}
			got := make(chan result, 1)
			go func() { // waited for below
				h, err := m.Acquire(ctx)
				got <- result{h, err}
			}()
			for count(t, cli, name+"/") == 0 { // the entry is there, and nobody knows
			}
			if !wait {
				cancel()
			}
			gate.SetTarget(cli.Endpoints()[0])
			r := <-got
			if wait {
				if r.err != nil {
					t.Fatalf("got %v, want the lock", r.err)
				}
				release(t, r.h)
			} else if !errors.Is(r.err, context.Canceled) {
				t.Errorf("got %v, want the cancellation", r.err)
			}
			for ctx := bounded(t); count(t, cli, name+"/") != 0; {
				if ctx.Err() != nil {
					t.Fatal("an orphan stays in the queue")
				}
			}
		})
	}
}

// Fault 4, of a Commit: it happened, or it did not and the lock is lost.
func TestACommitWithoutAnAnswerIsSettled(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	type result struct {
		resp *clientv3.TxnResponse
		err  error
	}
	commit := func(t *testing.T, m *lock.Mutex, before func(), meanwhile func(*lock.Hold)) result {
		h := acquire(t, m)
		before()
		got := make(chan result, 1)
		go func() { // waited for below
			resp, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"written", "1"))
			got <- result{resp, err}
		}()
		meanwhile(h)
		return <-got
	}
	t.Run("nothing came to etcd, and the entry is deleted", func(t *testing.T) {
		gate, through := gated(t, cli)
		m := mutex(t, through, prefix+"lock")
		got := commit(t, m, func() { gate.SetTarget("") }, func(h *lock.Hold) {
			<-time.After(100 * time.Millisecond) // for a try or two
			if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
				t.Error(err)
			}
			gate.SetTarget(cli.Endpoints()[0])
		})
		if !errors.Is(got.err, lock.ErrLost) {
			t.Errorf("got %v, %v, want ErrLost", got.resp, got.err)
		}
		if n := count(t, cli, prefix+"written"); n != 0 {
			t.Error("it was written all the same")
		}
	})
	t.Run("the answer is lost", func(t *testing.T) {
		gate, through := gated(t, cli)
		m := mutex(t, through, prefix+"lock")
		got := commit(t, m, func() { gate.DropAnswers() }, func(*lock.Hold) {
			for count(t, cli, prefix+"written") == 0 {
			}
			gate.SetTarget(cli.Endpoints()[0])
		})
		is, err := cli.Get(bounded(t), prefix+"written")
		if err != nil {
			t.Fatal(err)
		}
		if kv := is.Kvs[0]; got.err != nil || got.resp.Header.Revision != kv.ModRevision || kv.Version != 1 {
			t.Errorf("got %v, %v, want success, once, at revision %d", got.resp, got.err, kv.ModRevision)
		}
	})
}

// Fault 5: nobody answers.
func TestAcquireEndsWithItsContextAndSaysWhere(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	var mutexes []*lock.Mutex
	for i := range 3 {
		m := mutex(t, cli, fmt.Sprint("lock", i))
		release(t, acquire(t, m)) // it has a lease
		mutexes = append(mutexes, m)
	}
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	const patience = 700 * time.Millisecond
	var calls sync.WaitGroup
	late := make([]time.Duration, len(mutexes)) // One in time is enough: the machine has other work.
	for i, m := range mutexes {                 // At once, as the outage is not known yet: each asks.
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			h, err := m.Acquire(ctx)
			late[i] = time.Since(began) - patience
			t.Logf("%v after its deadline: %v", late[i], err)
			if h != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, %v, want the deadline", h, err)
				return
			}
			for _, want := range append(c.Endpoints(), "no answer") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
	calls.Wait()
	if least := slices.Min(late); least > 100*time.Millisecond && !race {
		t.Errorf("returned %v after its deadline, want 100 ms", least)
	}
}

// Fault 5, of those who hold and wait already: they are told before etcd can give the lock away.
func TestWhoIsCutOffIsToldBeforeTheLeaseEnds(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	waits := make(chan struct{})
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{onWatch(sync.OnceFunc(func() { close(waits) }))},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	keeper := lease.NewKeeper(cli, &lease.Options{TTL: workerTTL})
	defer keeper.Close()
	holder, waiter := lock.New(cli, "lock", &lock.Options{Keeper: keeper}), lock.New(cli, "lock", &lock.Options{Keeper: keeper})
	defer holder.Close()
	defer waiter.Close()
	h := acquire(t, holder)
	waited := make(chan error, 1)
	go func() { // waited for below
		_, err := waiter.Acquire(bounded(t))
		waited <- err
	}()
	<-waits
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	cut := time.Now()
	for _, told := range []struct {
		who string
		how func() error
	}{
		{"the waiter", func() error { return <-waited }},
		{"the holder", func() error { <-h.Done(); return h.Err() }},
	} {
		if err := told.how(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: got %v, want ErrLost", told.who, err)
		}
		if took := time.Since(cut); took > workerTTL {
			t.Errorf("%s was told after %v, want less than the TTL of %v", told.who, took, workerTTL)
		}
	}
}

// The member that all watches of the client are with stands still.
func TestAWaiterHasItsTurnWhenItsMemberStandsStill(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	first := <-cli.Watch(clientv3.WithRequireLeader(t.Context()), "any", clientv3.WithCreatedNotify())
	var member string
	var others []string
	for i, endpoint := range c.Endpoints() {
		s, err := cli.Status(t.Context(), endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if s.Header.MemberId == first.Header.MemberId {
			member = c.Names()[i]
		} else {
			others = append(others, endpoint)
		}
	}
	m := mutex(t, cli, "lock")
	release(t, acquire(t, m)) // it has its lease
	if _, err := c.Pause(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := clientv3.New(clientv3.Config{Endpoints: others, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	h := acquire(t, mutex(t, elsewhere, "lock"))
	held := make(chan *lock.Hold, 1)
	go func() { // waited for below
		h, err := m.Acquire(bounded(t))
		if err != nil {
			t.Error(err)
		}
		held <- h
	}()
	for count(t, elsewhere, "lock/") != 2 {
	}
	release(t, h)
	began := time.Now()
	got := <-held
	t.Logf("held %v after the release", time.Since(began))
	if got != nil {
		release(t, got) // before the member goes on, which may have led, and then ends leases that are not its own any more
	}
	if _, err := c.Resume(t.Context(), member); err != nil {
		t.Fatal(err)
	}
}

package lock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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
	// says so, and that it waits if it does; on each line of its stdin it commits a write, and it
	// says when its hold is over.
	workerEnv = "ETCDKIT_TEST_LOCK"
	workerTTL = 2 * time.Second
)

func work(job string) int {
	name, endpoints, _ := strings.Cut(job, "@")
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(endpoints, ","), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{onWatch(sync.OnceFunc(func() { fmt.Println("waits") }))},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	h, err := lock.New(cli, name, &lock.Options{TTL: workerTTL}).Acquire(context.Background())
	if err != nil {
		fmt.Println("lost:", errors.Is(err, lock.ErrLost))
		return 0
	}
	fmt.Println("held:", h.Token())
	go func() { // ends with the process
		<-h.Done()
		fmt.Println("done:", errors.Is(h.Err(), lock.ErrLost))
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		_, err := h.Commit(context.Background(), clientv3.OpPut(name+"-written", "by "+strconv.FormatInt(h.Token(), 10)))
		fmt.Println("committed:", err == nil, "lost:", errors.Is(err, lock.ErrLost))
	}
	return 0
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
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(exe)}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+name+"@"+strings.Join(endpoints, ","))
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

// Fault 2: the holder dies.
func TestTheNextOneHasItWhenTheLeaseOfADeadHolderEnds(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	w := startWorker(t, "lock", c.Endpoints())
	w.says(t, "held: ")
	m := mutex(t, etcdtest.Client(t, c), "lock")
	w.signal(t, syscall.SIGKILL)
	began := time.Now()
	h := acquire(t, m)
	took := time.Since(began)
	t.Logf("held %v after it died, with TTL %v", took, workerTTL)
	if took > workerTTL+1500*time.Millisecond {
		t.Errorf("held after %v, want TTL + 1.5 s", took)
	}
	release(t, h)
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
			gate.Mute(true)
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
			gate.Mute(false)
			gate.Lead(cli.Endpoints()[0])
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
		got := commit(t, m, func() { gate.Lead("") }, func(h *lock.Hold) {
			<-time.After(100 * time.Millisecond) // for a try or two
			if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
				t.Error(err)
			}
			gate.Lead(cli.Endpoints()[0])
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
		got := commit(t, m, func() { gate.Mute(true) }, func(*lock.Hold) {
			for count(t, cli, prefix+"written") == 0 {
			}
			gate.Mute(false)
			gate.Lead(cli.Endpoints()[0])
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
	m := mutex(t, etcdtest.Client(t, c), "lock")
	release(t, acquire(t, m)) // it has a lease
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	const patience = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	h, err := m.Acquire(ctx)
	took := time.Since(began)
	t.Logf("after %v: %v", took, err)
	if h != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.Endpoints()[0]) {
		t.Errorf("got %v, %v, want the deadline with the endpoints", h, err)
	}
	if took > patience+time.Second {
		t.Errorf("returned after %v, want %v", took, patience)
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

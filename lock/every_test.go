package lock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// granting is a client that tells which lease it was granted last.
func granting(t *testing.T, cli *clientv3.Client) (*clientv3.Client, func() clientv3.LeaseID) {
	t.Helper()
	var last atomic.Int64
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := call(ctx, method, req, reply, cc, opts...)
			if r, ok := reply.(*pb.LeaseGrantResponse); ok && err == nil {
				last.Store(r.ID)
			}
			return err
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, func() clientv3.LeaseID { return clientv3.LeaseID(last.Load()) }
}

// remaining is a lease's time; -1: it is gone.
func remaining(t *testing.T, cli *clientv3.Client, id clientv3.LeaseID) int64 {
	t.Helper()
	resp, err := cli.TimeToLive(bounded(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return resp.TTL
}

// lasts returns when a lease has at most so many seconds left; -1: when it is gone.
func lasts(t *testing.T, cli *clientv3.Client, id clientv3.LeaseID, most int64) {
	t.Helper()
	for ctx := bounded(t); remaining(t, cli, id) > most; {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("lease %x does not end", id)
		}
	}
}

func nothing(context.Context, *lock.Hold) error { return nil }

// every calls Every, and fails the test if that fails.
func every(t *testing.T, m *lock.Mutex, period time.Duration, f func(context.Context, *lock.Hold) error) lock.Run {
	t.Helper()
	run, err := m.Every(bounded(t), period, f)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// ranHere fails the test unless a run of the call counts.
func ranHere(t *testing.T, m *lock.Mutex, period time.Duration) lock.Run {
	t.Helper()
	run := every(t, m, period, nothing)
	if !run.Here {
		t.Fatalf("it is not due: %v", run)
	}
	return run
}

func TestOneRunAPeriodIsCompletedInTheFleet(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	var runs atomic.Int32
	var calls sync.WaitGroup
	var here atomic.Int32
	for range 5 {
		m := mutex(t, cli, prefix+"job")
		for range 2 {
			calls.Go(func() {
				run, err := m.Every(bounded(t), time.Hour, func(context.Context, *lock.Hold) error { runs.Add(1); return nil })
				switch {
				case err != nil:
					t.Error(err)
				case run.Here:
					here.Add(1)
				case run.DueIn < 59*time.Minute || run.DueIn > time.Hour || run.PID == 0 || run.Token == 0 || run.Started.IsZero():
					t.Errorf("not due: %+v", run)
				}
			})
		}
	}
	calls.Wait()
	if runs.Load() != 1 || here.Load() != 1 {
		t.Errorf("%d runs, %d calls say that they ran: want 1 and 1", runs.Load(), here.Load())
	}
	if n := count(t, cli, prefix+"job/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestTheNextRunIsDueWhenThePeriodHasPassed(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	a, b := mutex(t, cli, prefix+"job"), mutex(t, cli, prefix+"job")
	first := ranHere(t, a, 2*time.Second)
	if run := every(t, b, 2*time.Second, nothing); run.Here || run.DueIn <= 0 || run.DueIn > 2*time.Second || run.Token != first.Token {
		t.Fatalf("right after a run with token %d: %+v", first.Token, run)
	}
	lasts(t, cli, clientv3.LeaseID(leaseOf(t, cli, prefix+"job.every")), -1)
	if second := ranHere(t, b, 2*time.Second); second.Token <= first.Token {
		t.Errorf("token %d after %d", second.Token, first.Token)
	}
}

func TestAPeriodCountsFromTheStartOfItsRun(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	own, granted := granting(t, cli)
	m := mutex(t, own, prefix+"job")
	run := every(t, m, 20*time.Second, func(context.Context, *lock.Hold) error {
		lasts(t, cli, granted(), 17)
		return nil
	})
	if run.DueIn > 18*time.Second {
		t.Errorf("a run of 2 s with a period of 20 s is due again in %v", run.DueIn)
	}
	if left := remaining(t, cli, clientv3.LeaseID(leaseOf(t, cli, prefix+"job.every"))); left > 17 {
		t.Errorf("its mark lasts for %d s", left)
	}
}

func TestARunThatReturnsAnErrorIsRepeated(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	own, granted := granting(t, cli)
	m := mutex(t, own, prefix+"job")
	bad := errors.New("bad")
	var mark clientv3.LeaseID
	run, err := m.Every(bounded(t), time.Hour, func(context.Context, *lock.Hold) error { mark = granted(); return bad })
	if !errors.Is(err, bad) || run != (lock.Run{}) {
		t.Fatalf("got %v, %v, want the error of the run", run, err)
	}
	if left := remaining(t, cli, mark); left != -1 {
		t.Errorf("the lease of its mark has %d s left", left)
	}
	func() {
		defer func() {
			if recover() != "worse" {
				t.Error("the panic did not come through")
			}
		}()
		_, _ = m.Every(bounded(t), time.Hour, func(context.Context, *lock.Hold) error { panic("worse") })
	}()
	ranHere(t, m, time.Hour)
}

func TestARunThatLosesTheLockIsRepeated(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	run, err := m.Every(bounded(t), time.Hour, func(ctx context.Context, h *lock.Hold) error {
		if _, err := cli.Revoke(ctx, clientv3.LeaseID(leaseOf(t, cli, h.Key()))); err != nil {
			return err
		}
		return nil // it has not noticed
	})
	if !errors.Is(err, lock.ErrLost) || run.Here {
		t.Fatalf("got %v, %v, want ErrLost", run, err)
	}
	if n := count(t, cli, prefix+"job.every"); n != 0 {
		t.Error("it left a mark")
	}
	ranHere(t, mutex(t, cli, prefix+"job"), time.Hour)
}

func TestARunThatIsKilledIsRepeatedByTheNextProcess(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	first := startRunner(t, prefix+"job", time.Hour, cli.Endpoints())
	first.says(t, "runs")
	second := startRunner(t, prefix+"job", time.Hour, cli.Endpoints())
	for ctx := bounded(t); count(t, cli, prefix+"job/") != 2; { // it waits
		if ctx.Err() != nil {
			t.Fatal("void: the second process does not wait")
		}
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	second.says(t, "runs")
	third := startRunner(t, prefix+"job", time.Hour, cli.Endpoints())
	for ctx := bounded(t); count(t, cli, prefix+"job/") != 2; {
		if ctx.Err() != nil {
			t.Fatal("void: the third process does not wait")
		}
	}
	if _, err := second.stdin.Write([]byte("done\n")); err != nil {
		t.Fatal(err)
	}
	second.says(t, "ran here: true")
	third.says(t, "ran here: false")
}

func TestARunThatTakesLongerThanItsPeriodIsComplete(t *testing.T) {
	t.Parallel()
	for name, commits := range map[string]bool{"by itself": true, "by Every": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			own, granted := granting(t, cli)
			m := mutex(t, own, prefix+"job")
			run := every(t, m, 2*time.Second, func(ctx context.Context, h *lock.Hold) error {
				lasts(t, cli, granted(), -1)
				if !commits {
					return nil
				}
				_, err := h.Commit(ctx, clientv3.OpPut(prefix+"x", "1"))
				return err
			})
			if !run.Here || run.DueIn != 0 {
				t.Errorf("got %+v, want a run here, and the next one due now", run)
			}
			if n := count(t, cli, prefix+"job"); n != 0 {
				t.Errorf("%d keys are left", n)
			}
			if n := count(t, cli, prefix+"x"); commits && n != 1 {
				t.Error("its Commit wrote nothing")
			}
			ranHere(t, m, 2*time.Second)
		})
	}
}

func TestACallThatIsNotDueDoesNotWaitForTheLock(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	own, requests := counted(t, cli)
	m, other := mutex(t, own, prefix+"job"), mutex(t, cli, prefix+"job")
	ranHere(t, m, time.Hour)
	h := acquire(t, other)
	before := requests.Load()
	if run := every(t, m, time.Hour, nothing); run.Here {
		t.Error("it ran, though it was not due")
	}
	if run, err := m.TryEvery(bounded(t), time.Hour, nothing); err != nil || run.Here {
		t.Errorf("TryEvery: %v, %v, want one that is not due", run, err)
	}
	if n := requests.Load() - before; n != 4 {
		t.Errorf("%d requests of two calls that are not due: want a read of the mark and one of its lease each", n)
	}
	release(t, h)
}

func TestTryEveryDoesNotWait(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m, other := mutex(t, cli, prefix+"job"), mutex(t, cli, prefix+"job")
	h := acquire(t, other)
	if _, err := m.TryEvery(bounded(t), time.Hour, nothing); !errors.Is(err, lock.ErrTaken) {
		t.Errorf("while the lock is held: %v, want ErrTaken", err)
	}
	release(t, h)
	if run, err := m.TryEvery(bounded(t), time.Hour, nothing); err != nil || !run.Here {
		t.Errorf("while it is free: %v, %v, want a run here", run, err)
	}
	if run, err := other.TryEvery(bounded(t), time.Hour, nothing); err != nil || run.Here {
		t.Errorf("within the period: %v, %v, want one that is not due", run, err)
	}
}

func TestAnInvalidPeriodIsRefused(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	for _, period := range []time.Duration{0, -time.Second, time.Second, 2500 * time.Millisecond, 100 * 365 * 24 * time.Hour} {
		if _, err := m.Every(bounded(t), period, nothing); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%v: got %v, want ErrInvalid", period, err)
		}
	}
	if _, err := lock.New(cli, "", nil).Every(bounded(t), time.Hour, nothing); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("without a name: got %v, want ErrInvalid", err)
	}
}

func TestEveryIsNotNested(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	every(t, m, time.Hour, func(ctx context.Context, _ *lock.Hold) error {
		if _, err := m.Acquire(ctx); !errors.Is(err, lock.ErrNested) {
			t.Errorf("Acquire within Every: %v, want ErrNested", err)
		}
		if _, err := m.Every(ctx, time.Hour, nothing); !errors.Is(err, lock.ErrNested) {
			t.Errorf("Every within Every: %v, want ErrNested", err)
		}
		return nil
	})
}

func TestEveryLooksAgainWhenItsProcessPassesTheLockOn(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"job", lock.Options{Local: lock.Local{For: time.Minute}, Linger: time.Minute})
	release(t, acquire(t, m)) // its entry stays
	var runs atomic.Int32
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if _, err := m.Every(bounded(t), time.Hour, func(context.Context, *lock.Hold) error { runs.Add(1); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Every(bounded(t), time.Hour, nothing); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

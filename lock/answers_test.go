package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// rigged is a client's KV whose transactions go to a function of the test, if one is set.
type rigged struct {
	clientv3.KV
	mu     sync.Mutex
	with   answer
	latest *riggedTxn
}

type answer func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)

// rig returns the KV that the client has from now on.
func rig(cli *clientv3.Client) *rigged {
	r := &rigged{KV: cli.KV}
	cli.KV = r
	return r
}

func (r *rigged) Txn(ctx context.Context) clientv3.Txn {
	return &riggedTxn{Txn: r.KV.Txn(ctx), rigged: r}
}

func (r *rigged) meet(with answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.with = with
}

type riggedTxn struct {
	clientv3.Txn
	rigged *rigged
	cmps   []clientv3.Cmp
	ops    []clientv3.Op
}

func (t *riggedTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	t.Txn, t.cmps = t.Txn.If(cmps...), cmps
	return t
}
func (t *riggedTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }
func (t *riggedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.Txn, t.ops = t.Txn.Then(ops...), ops
	return t
}

func (t *riggedTxn) Commit() (*clientv3.TxnResponse, error) {
	t.rigged.mu.Lock()
	with := t.rigged.with
	t.rigged.latest = t
	t.rigged.mu.Unlock()
	if with == nil {
		return t.Txn.Commit()
	}
	return with(t.ops, t.Txn.Commit)
}

// fate is what becomes of a transaction.
type fate int

const (
	answered fate = iota
	unheard       // it is carried out, and the answer is lost
	unsent        // it is lost
	busy          // it is refused: too many requests
	full          // it is refused: no space
)

// fates befall the transactions to come, one after the other; those after them are answered.
func (r *rigged) fates(all ...fate) {
	var mu sync.Mutex
	r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		next := answered
		mu.Lock()
		if len(all) > 0 {
			next, all = all[0], all[1:]
		}
		mu.Unlock()
		switch next {
		case unheard:
			if _, err := commit(); err != nil {
				return nil, err
			}
			return nil, rpctypes.ErrTimeout
		case unsent:
			return nil, rpctypes.ErrTimeout
		case busy:
			return nil, rpctypes.ErrTooManyRequests
		case full:
			return nil, rpctypes.ErrNoSpace
		}
		return commit()
	})
}

func TestWhatACommitSaysIsTrueWhateverBecomesOfItsTries(t *testing.T) {
	for name, test := range map[string]struct {
		fates []fate
		want  error // nil: it is written
	}{
		"unheard":              {[]fate{unheard}, nil},
		"unheard, then busy":   {[]fate{unheard, busy}, nil},
		"unheard, then full":   {[]fate{unheard, full}, nil},
		"unheard, then unsent": {[]fate{unheard, unsent, unsent}, nil},
		"unsent":               {[]fate{unsent}, nil},
		"busy":                 {[]fate{busy, busy}, nil},
		"full":                 {[]fate{full}, rpctypes.ErrNoSpace},
		"unsent, then full":    {[]fate{unsent, full}, rpctypes.ErrNoSpace},
		"full, then unheard":   {[]fate{full, unheard}, rpctypes.ErrNoSpace},
	} {
		t.Run(name, func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			r := rig(cli)
			m := mutex(t, cli, prefix+"lock")
			h := acquire(t, m)
			r.fates(test.fates...)
			resp, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"written", "1"))
			if !errors.Is(err, test.want) || err == nil && len(resp.Responses) == 0 {
				t.Errorf("got %v, %v, want %v, and the responses", resp, err, test.want)
			}
			if n := count(t, cli, prefix+"written"); (n == 1) != (err == nil) {
				t.Errorf("it is there %d times, and the error is %v", n, err)
			}
			release(t, acquire(t, m))
		})
	}
}

// clientv3 sends a transaction again, unasked, whose answer says that its context has ended.
func TestACommitThatClientv3SendsTwiceIsNoLoss(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	for _, code := range []codes.Code{codes.Canceled, codes.DeadlineExceeded} {
		var reset atomic.Bool
		cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				err := send(ctx, method, req, reply, cc, opts...)
				if strings.HasSuffix(method, "/Txn") && reset.Swap(false) {
					return status.Error(code, "the stream was reset by a proxy")
				}
				return err
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		m := mutex(t, cli, prefix+"lock")
		h := acquire(t, m)
		reset.Store(true)
		written := prefix + "written " + code.String()
		if _, err := h.Commit(bounded(t), clientv3.OpPut(written, "1")); err != nil {
			t.Errorf("%v: got %v of a Commit that was carried out", code, err)
		}
		if n := count(t, cli, written); n != 1 || reset.Load() {
			t.Errorf("%v: void: it is there %d times", code, n)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestACommitWhoseContextHasEndedIsNotSent(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Commit(ctx, clientv3.OpPut(prefix+"written", "1")); !errors.Is(err, context.Canceled) || errors.Is(err, lock.ErrUnknown) {
		t.Errorf("got %v, want the cancellation, and not ErrUnknown", err)
	}
	release(t, acquire(t, m))
	if n := count(t, cli, prefix+"written"); n != 0 {
		t.Error("it was written")
	}
}

// deaf is a Watcher to which nothing comes.
type deaf struct{ clientv3.Watcher }

func (deaf) Watch(ctx context.Context, _ string, _ ...clientv3.OpOption) clientv3.WatchChan {
	<-ctx.Done()
	none := make(chan clientv3.WatchResponse)
	close(none)
	return none
}

func TestACommitWhoseOutcomeCannotBeFoundIsUnknown(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	cli.Watcher = deaf{cli.Watcher}
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	r.fates(unheard)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := h.Commit(ctx, clientv3.OpPut(prefix+"written", "1")); !errors.Is(err, lock.ErrUnknown) || errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}

func TestAReleaseThatWasRefusedAtFirstIsOne(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	for _, first := range []fate{busy, full, unheard} {
		h := acquire(t, m)
		r.fates(first)
		release(t, h)
	}
	if n := count(t, cli, prefix+"lock/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// The one that waits in this process enters the queue with the transaction of the one before.
func TestACommitIsNotRefusedBecauseOfAWaiter(t *testing.T) {
	for name, test := range map[string]struct {
		puts int
		read clientv3.Op
	}{
		"as many operations as etcd takes": {126, clientv3.OpGet("x")},
		"a read that cannot be made":       {1, clientv3.OpGet("x", clientv3.WithRev(1<<40))},
	} {
		t.Run(name, func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			m := mutex(t, cli, prefix+"lock")
			h := acquire(t, m)
			waited := make(chan error, 1)
			go func() { // waited for below
				h, err := m.Acquire(bounded(t), test.read)
				if err == nil {
					err = h.Release(bounded(t))
				}
				waited <- err
			}()
			<-time.After(100 * time.Millisecond) // it is most likely in line by now
			var ops []clientv3.Op
			for i := range test.puts {
				ops = append(ops, clientv3.OpPut(fmt.Sprint(prefix, "x", i), "1"))
			}
			if _, err := h.Commit(bounded(t), ops...); err != nil {
				t.Errorf("got %v, want it written", err)
			}
			if err := <-waited; (err == nil) != (test.puts > 1) {
				t.Errorf("the one that waited: %v", err)
			}
			if n := count(t, cli, prefix+"x"); n != int64(test.puts) {
				t.Errorf("%d of %d are there", n, test.puts)
			}
			release(t, acquire(t, m))
		})
	}
}

// A key that is given back twice is two holders'.
func TestAKeyIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	keeper := lease.NewKeeper(cli, nil)
	defer keeper.Close()
	var all [2]*lock.Mutex
	for i := range all {
		all[i] = lock.New(cli, prefix+"lock", &lock.Options{Keeper: keeper})
		defer all[i].Close()
	}
	r := rig(cli)
	h := acquire(t, all[0])
	r.fates(full)
	if _, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"x", "1")); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("got %v, want what etcd said", err)
	}
	r.meet(nil)
	h = acquire(t, all[0])
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if other, err := all[1].Acquire(ctx); err == nil {
		t.Errorf("%s and %s are held at once", h.Key(), other.Key())
	}
	if err := h.Err(); err != nil {
		t.Error(err)
	}
	release(t, h)
}

func TestAnEntryThatMayHaveComeIsRemoved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	r.fates(unheard, full)
	if _, err := m.Acquire(bounded(t)); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("got %v, want what etcd said", err)
	}
	for ctx := bounded(t); count(t, cli, prefix+"lock/") != 0; {
		if ctx.Err() != nil {
			t.Fatal("it stays in the queue")
		}
	}
}

func TestAReadThatEtcdRefusesEndsAcquire(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	now, err := cli.Put(bounded(t), prefix+"x", "1")
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { // waited for below
		_, err := mutex(t, cli, prefix+"lock").Acquire(bounded(t), clientv3.OpGet(prefix+"x", clientv3.WithRev(now.Header.Revision-1)))
		waited <- err
	}()
	for count(t, cli, prefix+"lock/") != 2 {
	}
	if _, err := cli.Compact(bounded(t), now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	release(t, h)
	if err := <-waited; !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("got %v, want that what it was to read is compacted", err)
	}
	for ctx := bounded(t); count(t, cli, prefix+"lock/") != 0; {
		if ctx.Err() != nil {
			t.Fatal("its entry stays in the queue")
		}
	}
}

func TestTryAcquireTakesAnotherLeaseIfItsOwnWasRevoked(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	id := leaseOf(t, cli, h.Key())
	release(t, h)
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(id)); err != nil {
		t.Fatal(err)
	}
	h, err := m.TryAcquire(bounded(t))
	if err != nil {
		t.Fatalf("got %v, want the lock, which is free", err)
	}
	release(t, h)
}

// lagging are watches of a member that is at the revision before a deletion when they open.
type lagging struct {
	clientv3.Watcher
	key     string
	deleted int64
}

func (l lagging) Watch(_ context.Context, key string, _ ...clientv3.OpOption) clientv3.WatchChan {
	c := make(chan clientv3.WatchResponse, 2)
	c <- clientv3.WatchResponse{Created: true, Header: &pb.ResponseHeader{Revision: l.deleted - 1}}
	if key == l.key {
		c <- clientv3.WatchResponse{Header: &pb.ResponseHeader{Revision: l.deleted}, Events: []*clientv3.Event{{
			Type: mvccpb.DELETE, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: l.deleted},
		}}}
	}
	return c
}

// Keys are used again: a member that lags behind still tells of the end of an entry before, and
// does not have those of now.
func TestAnAnswerOfAMemberThatLagsBehindEndsNoWait(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	a := mutex(t, cli, name)
	h := acquire(t, a)
	key := h.Key()
	left, err := h.Commit(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	deleted := left.Header.Revision
	h = acquire(t, mutex(t, cli, name))
	ended, end := context.WithCancel(t.Context())
	for i, m := range []*lock.Mutex{mutex(t, cli, name), mutex(t, cli, name), a} { // more than few
		go func() { _, _ = m.Acquire(ended) }() // ends with the test
		for count(t, cli, name+"/") != int64(i+2) {
		}
	}
	defer end()
	behind, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	then := behind.KV
	rig(behind).meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if !ops[0].IsGet() {
			return commit()
		}
		for i := range ops {
			clientv3.WithRev(deleted)(&ops[i])
		}
		resp, err := then.Txn(t.Context()).Then(ops...).Commit()
		if err == nil {
			resp.Header.Revision = deleted
		}
		return resp, err
	})
	behind.Watcher = lagging{behind.Watcher, key, deleted}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := mutex(t, behind, name).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want it to wait", err)
	}
	release(t, h)
}

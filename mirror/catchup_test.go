package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/mirror"
)

// fillKeys puts keys below a prefix, 128 in a transaction, and returns the last revision.
func fillKeys(t testing.TB, cli *clientv3.Client, prefix string, keys int) (revision int64) {
	t.Helper()
	ctx := within(t, 5*generous)
	for n := 0; n < keys; {
		var ops []clientv3.Op
		for ; n < keys && len(ops) < 128; n++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s%07d", prefix, n), "value"))
		}
		resp, err := cli.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		revision = resp.Header.Revision
	}
	return revision
}

// pagedRead is how long a plain client takes to read a prefix in pages.
func pagedRead(t testing.TB, cli *clientv3.Client, prefix string) time.Duration {
	t.Helper()
	began := time.Now()
	opts := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(10_000), clientv3.WithSerializable()}
	for key, revision := prefix, int64(0); ; {
		resp, err := cli.Get(within(t, generous), key, append(opts, clientv3.WithRev(revision))...)
		if err != nil {
			t.Fatal(err)
		}
		if !resp.More {
			return time.Since(began)
		}
		key, revision = string(resp.Kvs[len(resp.Kvs)-1].Key)+"\x00", resp.Header.Revision
	}
}

// A revision of many events, and a backlog of many revisions: the mirror is right again after the
// time of a few reads of the prefix.
func TestAMirrorCatchesUpWithALargeRevision(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		pad  int // of the keys' names
		keys int
	}{
		{"names of 170 bytes", 162, catchUpKeys},
		{"short names", 0, catchUpKeys},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
			cli := etcdtest.Client(t, c)
			prefix := "a/" + strings.Repeat("n", test.pad)
			fillKeys(t, cli, prefix, test.keys)
			read := min(pagedRead(t, cli, prefix), pagedRead(t, cli, prefix), pagedRead(t, cli, prefix))
			var cut atomic.Bool
			fragments := asked(func(r *pb.WatchRequest) {
				if r.GetCreateRequest().GetFragment() {
					cut.Store(true)
				}
			})
			m := open(t, quickClientWith(t, []grpc.DialOption{fragments}, c.Endpoints()...), prefix, nil)
			wait(t, m, put(t, cli, prefix+"last", "1")) // the watch is there
			if cut.Load() {
				t.Errorf("its watch asks for fragments, which cost the member the square of %d events", test.keys)
			}
			began := time.Now()
			resp, err := cli.Delete(within(t, generous), prefix, clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			deleted := time.Since(began)
			wantRight(t, m, resp.Header.Revision, 0, began, deleted, read)
		})
	}
}

// wantRight waits for a mirror to be at a revision, and says how many reads of the prefix it took.
func wantRight(t testing.TB, m *mirror.Mirror, revision int64, keys int, began time.Time, other, read time.Duration) {
	t.Helper()
	wait(t, m, revision)
	took := time.Since(began) - other
	t.Logf("right again after %v: %.2f × a paged Get, of %v (and %v for the writes); state %+v",
		took.Round(time.Millisecond), float64(took)/float64(read), read.Round(time.Millisecond), other.Round(time.Millisecond), m.State())
	if got := m.Snapshot().Len(); got != keys {
		t.Errorf("keys: got %d, want %d", got, keys)
	}
	if bound := max(3*read, catchUpLeast); took > bound && !means.Race {
		t.Errorf("right again after %v: want at most %v, three times the %v of a paged Get", took, bound, read)
	}
}

// asking gets the time at which a client sends a mirror's request to a member, if there is room.
type asking chan time.Time

func (a asking) HandleRPC(_ context.Context, s stats.RPCStats) {
	header, ok := s.(*stats.OutHeader)
	if !ok || !strings.HasSuffix(header.FullMethod, "/Watch") && !strings.HasSuffix(header.FullMethod, "/Range") {
		return
	}
	select {
	case a <- time.Now():
	default:
	}
}

func (a asking) HandleConn(context.Context, stats.ConnStats)                       {}
func (a asking) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (a asking) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func TestAMirrorCatchesUpWithABacklog(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	const prefix = "a/"
	fillKeys(t, cli, prefix, catchUpKeys)
	read := min(pagedRead(t, cli, prefix), pagedRead(t, cli, prefix), pagedRead(t, cli, prefix))
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	asks := make(asking, 1)
	m := open(t, quickClientWith(t, []grpc.DialOption{grpc.WithStatsHandler(asks)}, g.Addr()), prefix, nil)
	wait(t, m, put(t, cli, prefix+"last", "1"))
	g.SetTarget("")
	revision := backlog(t, cli, prefix, catchUpBacklog)
	for len(asks) > 0 {
		<-asks
	}
	g.SetTarget(c.Endpoints()[0])
	select {
	case began := <-asks: // until then the client waits to connect, and spreads what comes back
		wantRight(t, m, revision, catchUpKeys+1, began, 0, read)
	case <-within(t, generous).Done():
		t.Fatal("the mirror asks for nothing")
	}
	if s, n := m.State(), m.Stats(); n.Rereads[mirror.Behind] != 1 || s.Epoch != 0 {
		t.Errorf("State: got %+v and %+v, want one reading because the watch was too far behind, in epoch 0", s, n)
	}
}

// backlog makes many small transactions, and returns the last one's revision.
func backlog(t testing.TB, cli *clientv3.Client, prefix string, transactions int) (revision int64) {
	t.Helper()
	const workers = 64
	ctx := within(t, 5*generous)
	last := make(chan int64, workers)
	for w := range workers {
		go func() {
			var newest int64
			defer func() { last <- newest }()
			for n := w; n < transactions; n += workers {
				resp, err := cli.Put(ctx, fmt.Sprintf("%s%07d", prefix, n%catchUpKeys), "changed")
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				newest = resp.Header.Revision
			}
		}()
	}
	for range workers {
		revision = max(revision, <-last)
	}
	return revision
}

// As much is written during each reading as makes the next watch too far behind. The mirror does not
// read for ever: a watch catches up, whichever keys are written. Once it has, the bound is the usual one.
func TestAPrefixIsNotReadForEverBecauseOfWhatIsWrittenMeanwhile(t *testing.T) {
	const tooMuch, enough = 1200, 6
	shared, prefix := etcdtest.New(t)
	below := prefix + "in/"
	var readings, written atomic.Int64
	write := func() { // in the prefix and beside it, in turn
		backlog(t, shared, []string{below, prefix + "beside/"}[written.Add(1)%2], tooMuch)
	}
	g := etcdtest.NewGate(t, shared.Endpoints()[0])
	cli := quickClientWith(t, []grpc.DialOption{afterFirstPage(func() {
		if readings.Add(1) <= enough {
			write()
		}
	})}, g.Addr())
	m := open(t, cli, below, &mirror.Options{ConfirmEvery: 50 * time.Millisecond})
	var last int64
	for ctx := within(t, generous); m.Stats().Events == 0; { // until a watch delivers
		last = put(t, shared, below+"last", "1")
		if err := m.Wait(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
	for ctx := within(t, generous); m.State().ConfirmedRevision < last; {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("revision %d is not confirmed: %+v", last, m.State())
		}
	}
	was := m.Stats().Rereads[mirror.Behind]
	if was == 0 {
		t.Error("void: the mirror was never too far behind")
	}
	if was > enough/2 {
		t.Errorf("the prefix was read again %d times while keys were written, want once or twice", was)
	}
	readings.Store(enough) // from now on nothing is written during readings
	g.SetTarget("")
	write()
	g.SetTarget(shared.Endpoints()[0])
	wantMirror(t, m, shared, below)
	if now := m.Stats().Rereads[mirror.Behind]; now != was+1 {
		t.Errorf("%d revisions behind, it was read again %d times, want once", tooMuch, now-was)
	}
}

// afterFirstPage is a connection that calls f after the first page of each reading.
func afterFirstPage(f func()) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if r, ok := req.(*pb.RangeRequest); ok && err == nil && len(r.RangeEnd) > 0 && !r.KeysOnly && r.Revision == 0 {
			f()
		}
		return err
	})
}

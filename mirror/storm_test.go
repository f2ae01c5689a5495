package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// storm makes random changes of n keys below a prefix.
type storm struct {
	*rand.Rand
	cli    *clientv3.Client
	prefix string
	keys   int
}

func newStorm(t testing.TB, cli *clientv3.Client, prefix string, keys int) *storm {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &storm{rand.New(rand.NewPCG(seed, 0)), cli, prefix, keys}
}

// change commits one random transaction and returns its revision.
func (s *storm) change(t testing.TB) int64 {
	t.Helper()
	var ops []clientv3.Op
	for _, i := range s.Perm(s.keys)[:1+s.IntN(min(8, s.keys))] {
		key := fmt.Sprintf("%s%03d", s.prefix, i)
		switch s.IntN(3) {
		case 0:
			ops = append(ops, clientv3.OpDelete(key))
		default:
			ops = append(ops, clientv3.OpPut(key, fmt.Sprint(s.Uint32())))
		}
	}
	resp, err := s.cli.Txn(within(t, generous)).Then(ops...).Commit()
	if err != nil {
		t.Fatalf("a transaction of the storm: %v", err)
	}
	return resp.Header.Revision
}

// folding reads changes until a key appears, and checks after each batch that what was there
// and the changes make what is there.
func folding(t testing.TB, m *mirror.Mirror, opts mirror.ChangesOptions, until string) (result <-chan *fold) {
	opts.From = m.Snapshot()
	f := startFold(opts.From)
	done := make(chan *fold, 1)
	ctx := within(t, 5*generous)
	go func() {
		defer func() { done <- f }()
		for b, err := range m.Changes(ctx, &opts) {
			if err != nil {
				if !errors.Is(err, context.Canceled) { // the test has failed already
					t.Errorf("Changes: %v", err)
				}
				return
			}
			f.apply(t, b)
			wantSame(t, fmt.Sprintf("the fold at revision %d", f.revision), f.contents, held(b.Snapshot))
			if _, ok := b.Snapshot.Get(until); ok {
				return
			}
		}
	}()
	return done
}

// A random storm with cut connections and compactions: whatever is read at whatever moment, the
// copy is what etcd had at that revision, and the changes lead there.
func TestWhateverHappensTheCopyIsWhatEtcdHad(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, cli.Endpoints()[0])
	s := newStorm(t, cli, prefix, 40)
	m := open(t, quickClient(t, g.Addr()), prefix, &mirror.Options{ConfirmEvery: 50 * time.Millisecond, WatchTimeout: 100 * time.Millisecond})
	final := prefix + "final"
	folds := []<-chan *fold{
		folding(t, m, mirror.ChangesOptions{EachTransaction: true, Buffer: 64 << 20}, final),
		folding(t, m, mirror.ChangesOptions{}, final),
		folding(t, m, mirror.ChangesOptions{Buffer: 1}, final), // by comparing
	}
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		up := true
		for range 1 + s.IntN(60) {
			revision := s.change(t)
			switch s.IntN(40) {
			case 0:
				if up = !up; up {
					g.SetTarget(cli.Endpoints()[0])
				} else {
					g.SetTarget("")
				}
			case 1:
				if _, err := cli.Compact(t.Context(), revision-int64(s.IntN(3))); err != nil && !strings.Contains(err.Error(), "compacted") {
					t.Fatal(err)
				}
			case 2:
				wantSnapshot(t, m, cli, prefix)
			}
		}
		g.SetTarget(cli.Endpoints()[0])
		wantMirror(t, m, cli, prefix)
	}
	st, n := m.State(), m.Stats()
	t.Logf("%d events in %d transactions, %d watches, rereads %v", n.Events, n.Transactions, n.Watches, n.Rereads)
	if st.Epoch != 0 {
		t.Errorf("epoch: got %d, want 0", st.Epoch)
	}
	if rounds == 60 && n.Rereads[mirror.Compacted] == 0 {
		t.Error("void: no compaction was in the way")
	}
	wait(t, m, put(t, cli, final, "1"))
	for _, done := range folds {
		wantSame(t, "the last fold", (<-done).contents, held(m.Snapshot()))
	}
}

// wantSnapshot compares the newest snapshot with etcd, unless its revision is compacted.
func wantSnapshot(t testing.TB, m *mirror.Mirror, cli *clientv3.Client, prefix string) {
	t.Helper()
	snapshot := m.Snapshot()
	_, err := cli.Get(within(t, generous), prefix, clientv3.WithRev(snapshot.Revision()))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return
	}
	want, _ := stored(t, cli, prefix, snapshot.Revision())
	wantSame(t, fmt.Sprintf("the mirror at revision %d", snapshot.Revision()), held(snapshot), want)
}

// A storm, a compaction, and the member that serves the watch blackholed meanwhile.
func TestAStormWithABlackholeAndACompactionLosesNothing(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	// It notices when it is asked for a revision, and not before the compaction.
	m := open(t, quickClient(t, c.Endpoints()...), "a/", &mirror.Options{ConfirmEvery: time.Hour})
	wait(t, m, put(t, quickClient(t, c.Endpoints()...), "a/000", "0"))
	bad := server(t, c, m)
	s := newStorm(t, others(t, c, bad), "a/", 100)
	every := folding(t, m, mirror.ChangesOptions{EachTransaction: true, Buffer: 64 << 20}, "a/final")
	latest := folding(t, m, mirror.ChangesOptions{}, "a/final")
	for range 200 {
		s.change(t)
	}
	if _, err := c.Blackhole(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	before := m.Snapshot().Revision()
	pace := time.NewTicker(3 * time.Millisecond) // 400 changes: with more than 1,000 the mirror would read again for that
	defer pace.Stop()
	for range 400 {
		<-pace.C
		s.change(t)
	}
	last := s.change(t)
	if at := m.Snapshot().Revision(); at >= last {
		t.Fatalf("void: the mirror was at revision %d before the compaction at %d", at, last)
	}
	if _, err := s.cli.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		s.change(t)
	}
	wantMirror(t, m, s.cli, "a/")
	if _, err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		s.change(t)
	}
	wait(t, m, put(t, s.cli, "a/final", "1"))
	wantMirror(t, m, s.cli, "a/")
	for _, f := range []*fold{<-every, <-latest} {
		wantSame(t, "the fold", f.contents, held(m.Snapshot()))
	}
	st, n := m.State(), m.Stats()
	t.Logf("at %d when blackholed, compacted at %d: %d watches, rereads %v", before, last, n.Watches, n.Rereads)
	if n.Rereads[mirror.Compacted] == 0 || st.Epoch != 0 {
		t.Errorf("State: got rereads %v, epoch %d, want one for the compaction, in epoch 0", n.Rereads, st.Epoch)
	}
}

// A consumer that sleeps while events come. The server is another process: the memory
// is the mirror's.
func TestASleepingConsumerCostsBoundedMemoryAndWakesToTheFinalState(t *testing.T) {
	const buffer = 1 << 20
	for _, test := range []struct {
		name                 string
		keys, perTransaction int
		pad, events, rest    int
	}{
		// The rest is what the two readers have seen last, of which no value is current any more.
		{"large values in large transactions", 1000, 100, 1000, sleeperEvents, 3 * 1000 * 1000},
		{"one small key a transaction, of many", 50_000, 1, 10, 8000, 8000 * 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
			cli := etcdtest.Client(t, c)
			ctx := within(t, 5*generous) // one: what a context leaves behind is not the mirror's
			pad := strings.Repeat("x", test.pad)
			n := 0
			write := func(perTransaction int) int64 {
				var ops []clientv3.Op
				for range perTransaction {
					ops = append(ops, clientv3.OpPut(fmt.Sprintf("a/%05d", n*7919%test.keys), fmt.Sprint(n, pad)))
					n++
				}
				resp, err := cli.Txn(ctx).Then(ops...).Commit()
				if err != nil {
					t.Fatal(err)
				}
				return resp.Header.Revision
			}
			for range test.keys / 100 {
				write(100)
			}
			m := open(t, cli, "a/", nil)
			opts := mirror.ChangesOptions{From: new(mirror.Snapshot), Buffer: buffer}
			sleeper := read(t, m.Changes(ctx, &opts))
			opts.EachTransaction = true
			slow := read(t, m.Changes(ctx, &opts))
			f := startFold(new(mirror.Snapshot))
			f.apply(t, sleeper.batch())
			slow.batch()
			before := heap()
			pace := time.NewTicker(time.Second * 100 / 1000)
			defer pace.Stop()
			for end := n + test.events; n < end; {
				if test.events > 10_000 && n%100 == 0 {
					<-pace.C
				}
				if err := m.Wait(ctx, write(test.perTransaction)); err != nil {
					t.Fatal(err)
				}
			}
			grown := heap() - before
			t.Logf("%d events: the heap grew by %.1f MB, a copy is %.1f MB", test.events, float64(grown)/1e6, float64(test.keys*test.pad)/1e6)
			if limit := int64(test.rest + 2*buffer + 4<<20); grown > limit { // and room
				t.Errorf("heap after %d events that no reader took: grew by %d bytes, want at most %d", test.events, grown, limit)
			}
			f.apply(t, sleeper.batch())
			wantSame(t, "what the sleeper saw", f.contents, held(m.Snapshot()))
			wantMirror(t, m, cli, "a/")
			if _, err, _ := slow.next(); !errors.Is(err, mirror.ErrSlow) {
				t.Errorf("a reader of every transaction that slept: got %v, want ErrSlow", err)
			}
		})
	}
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

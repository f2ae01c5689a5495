package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// A client that moves to a member which lags.
func TestTheRevisionNeverGoesBack(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	names := slices.DeleteFunc(c.Names(), func(name string) bool { return name == c.Leader() })
	good, err := c.Endpoint(names[0])
	if err != nil {
		t.Fatal(err)
	}
	lagging, err := c.Endpoint(names[1])
	if err != nil {
		t.Fatal(err)
	}
	g := etcdtest.NewGate(t, good)
	log := newRecords()
	m := open(t, quickClient(t, g.Addr()), "a/", &mirror.Options{ConfirmEvery: 200 * time.Millisecond, WatchTimeout: 200 * time.Millisecond, Logger: log.logger()})
	watched := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // every batch, and the snapshots in between
		defer close(watched)
		f := startFold(new(mirror.Snapshot))
		for b, err := range m.Changes(ctx, &mirror.ChangesOptions{From: new(mirror.Snapshot), EachTransaction: true}) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Changes: %v", err)
				}
				return
			}
			f.apply(t, b)
		}
	}()
	cli := others(t, c, names[1])
	for round := range 2 {
		if _, err := c.Isolate(t.Context(), names[1]); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			put(t, cli, fmt.Sprintf("a/%d", i%10), fmt.Sprint(round, i))
		}
		wantMirror(t, m, cli, "a/")
		at := m.Snapshot().Revision()
		g.SetTarget(lagging)
		log.wait(t, "mirror stale", round+1)
		if got := m.Snapshot().Revision(); got < at || m.State().Epoch != 0 {
			t.Errorf("with a member that lags: got revision %d, epoch %d, want %d and 0", got, m.State().Epoch, at)
		}
		if _, err := c.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(t, m, put(t, cli, "a/healed", fmt.Sprint(round)))
		log.wait(t, "mirror fresh", round+2)
		g.SetTarget(good)
		wantMirror(t, m, cli, "a/")
	}
	cancel()
	<-watched
	if s, n := m.State(), m.Stats(); s.Epoch != 0 || len(n.Rereads) != 0 {
		t.Errorf("State: got epoch %d and rereads %v, want 0 and none", s.Epoch, n.Rereads)
	}
}

// The database was wiped, a backup was restored, or it is another cluster.
func TestAReplacedHistoryIsReadAgain(t *testing.T) {
	t.Parallel()
	// A cluster's directory is copied between two runs of it: the ID stays.
	dir, early := t.TempDir(), t.TempDir()
	opts := &cluster.Options{Members: 1, DataDir: filepath.Join(dir, "data")}
	run := func(write func(*cluster.Cluster, *clientv3.Client)) {
		t.Helper()
		c := etcdtest.NewCluster(t, opts)
		write(c, etcdtest.Client(t, c))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run(func(_ *cluster.Cluster, cli *clientv3.Client) {
		put(t, cli, "a/old", "1")
		put(t, cli, "a/both", "1")
	})
	if err := os.CopyFS(filepath.Join(early, "data"), os.DirFS(opts.DataDir)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		after   int // writes into what replaces it, before the mirror sees it
		compact bool
		other   bool
		reason  mirror.Reason
	}{
		{"an older backup", 0, false, false, mirror.Regressed},
		{"an older backup that has gone on for longer", 100, false, false, mirror.Diverged},
		{"an older backup that was compacted since", 100, true, false, mirror.Diverged},
		{"another cluster", 0, false, true, mirror.OtherCluster},
		{"another cluster that has gone on for longer", 100, false, true, mirror.OtherCluster},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := t.TempDir(), t.TempDir()
			for _, to := range []string{first, second} {
				if err := os.CopyFS(filepath.Join(to, "data"), os.DirFS(filepath.Join(early, "data"))); err != nil {
					t.Fatal(err)
				}
			}
			if test.other {
				second = t.TempDir()
			}
			c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, DataDir: filepath.Join(first, "data")})
			cli := etcdtest.Client(t, c)
			g := etcdtest.NewGate(t, c.Endpoints()[0])
			for i := range 50 {
				put(t, cli, fmt.Sprintf("a/%d", i), "1")
			}
			log := newRecords()
			m := open(t, quickClient(t, g.Addr()), "a/", &mirror.Options{ConfirmEvery: 200 * time.Millisecond, Logger: log.logger()})
			r := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true}))
			f := startFold(m.Snapshot())
			wantMirror(t, m, cli, "a/")
			g.SetTarget("")
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			c = etcdtest.NewCluster(t, &cluster.Options{Members: 1, DataDir: filepath.Join(second, "data")})
			cli = etcdtest.Client(t, c)
			put(t, cli, "a/both", "2")
			for i := range test.after {
				put(t, cli, fmt.Sprintf("b/%d", i), "2") // no event of a/ gives it away
			}
			if test.compact {
				if _, err := cli.Compact(t.Context(), put(t, cli, "b/0", "3")); err != nil {
					t.Fatal(err)
				}
			}
			g.SetTarget(c.Endpoints()[0])
			log.wait(t, "mirror read again", 1)
			wantMirror(t, m, cli, "a/")
			f.apply(t, r.batch())
			wantSame(t, "what was there and the changes", f.contents, held(m.Snapshot()))
			if s, n := m.State(), m.Stats(); n.Rereads[test.reason] != 1 || s.Epoch != 1 || m.Snapshot().Epoch() != 1 || !s.Fresh {
				t.Errorf("State: got %+v and %+v, want it fresh, in epoch 1, with one reread because %q", s, n, test.reason)
			}
			wait(t, m, put(t, cli, "a/later", "3"))
			wantBatch(t, r.batch(), "a/", "+later=3")
			if !strings.Contains(log.all(), "level=WARN") {
				t.Errorf("the log has no warning:\n%s", log.all())
			}
		})
	}
}

// Nothing tells a reader of the new history but the epoch.
func TestAReplacedHistoryWithTheSameEntriesIsToldToReaders(t *testing.T) {
	early, late := t.TempDir(), t.TempDir()
	opts := &cluster.Options{Members: 1, DataDir: filepath.Join(early, "data")}
	c := etcdtest.NewCluster(t, opts)
	put(t, etcdtest.Client(t, c), "a/key", "1")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(late, "data"), os.DirFS(opts.DataDir)); err != nil {
		t.Fatal(err)
	}
	c = etcdtest.NewCluster(t, &cluster.Options{Members: 1, DataDir: filepath.Join(late, "data")})
	last := put(t, etcdtest.Client(t, c), "b/key", "1")
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	m := open(t, quickClient(t, g.Addr()), "a/", &mirror.Options{ConfirmEvery: 200 * time.Millisecond})
	r := read(t, m.Changes(within(t, generous), nil))
	wait(t, m, last)
	g.SetTarget("")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = etcdtest.NewCluster(t, opts)
	g.SetTarget(c.Endpoints()[0])
	if b := r.batch(); len(b.Changes) != 0 || b.Snapshot.Epoch() != 1 || b.Snapshot.Len() != 1 {
		t.Errorf("got %+v of epoch %d, want the same entries in epoch 1", b, b.Snapshot.Epoch())
	}
}

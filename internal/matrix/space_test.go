package matrix_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestWithoutSpaceCallsSaySoAndHandlesStay(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 16 << 20})
	other := etcdtest.Client(t, c)
	const ttl = 3 * time.Second
	tb := open(t, &noSpaceLeft, at{endpoints: c.Endpoints(), other: other, prefix: "matrix", ttl: ttl})
	keys := tb.keys(t)
	ctx := bounded(t)
	for i := 0; ; i++ { // Putting to one key leaves revisions that compaction removes.
		if _, err := other.Put(ctx, "fill", strings.Repeat("x", 1<<20)); err != nil {
			if !noSpace.is(err) {
				t.Fatal(err)
			}
			break
		}
	}
	<-time.After(ttl + time.Second) // each lease has been renewed, or is gone
	t.Run("without space", func(t *testing.T) {
		tb.t = t
		tb.each(func(t *cell, w *watched) {
			if w.gone == nil {
				w.staysAlive(t)
				w.keyLeft(t, keys[w], time.Now())
				return
			}
			// What reads works if it shows what can be done without space.
			ctx := bounded(t)
			if _, err := w.place.other.Delete(ctx, keys[w]); err != nil {
				t.Fatalf("%v", err)
			}
			if err := w.gone(ctx); err != nil {
				t.Errorf("%v", err)
			}
		})
	})
	tb.t = t
	tb.each(func(t *cell, w *watched) {
		w.callAll(t, 2*time.Second, func(c call, _, _ time.Duration, err error) {
			t.Logf("%s: %v", c.name, err)
			switch {
			case w.p.err == nil || c.ends() || c.name == "Confirm" || c.name == "Leader":
				if err != nil && c.name != "Wait" {
					t.Errorf("%s, which needs no space: %v", c.name, err)
				}
			case c.name == "Drain" || c.name == "Update":
				if !w.p.err.is(err) {
					t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
				}
			case !w.p.err.is(err):
				t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
			}
		})
	})
	resp, err := other.Get(ctx, "fill", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	_, e1 := other.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	_, e2 := other.Defragment(ctx, c.Endpoints()[0])
	_, e3 := other.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	if err := errors.Join(e1, e2, e3); err != nil {
		t.Fatal(err)
	}
	t.Run("afterwards", func(t *testing.T) {
		tb.t = t
		tb.each(func(t *cell, w *watched) {
			if strings.HasPrefix(w.row.name, "Hold") || w.row.name == "Term" {
				return // its calls have released it
			}
			w.staysAlive(t)
			w.keyLeft(t, keys[w], time.Now())
		})
	})
}

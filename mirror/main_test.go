package mirror_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/mirror"
)

func TestMain(m *testing.M) {
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, cli *clientv3.Client, prefix string, opts *mirror.Options) *mirror.Mirror {
	t.Helper()
	m, err := mirror.Open(within(t, generous), cli, prefix, opts)
	if err != nil {
		t.Fatalf("Open %q: %v", prefix, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func put(t testing.TB, cli *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := cli.Put(within(t, generous), key, value)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return resp.Header.Revision
}

func del(t testing.TB, cli *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := cli.Delete(within(t, generous), key)
	if err != nil {
		t.Fatalf("delete %q: %v", key, err)
	}
	return resp.Header.Revision
}

func wait(t testing.TB, m *mirror.Mirror, revision int64) {
	t.Helper()
	if err := m.Wait(within(t, generous), revision); err != nil {
		t.Fatalf("wait for the mirror: %v; its state is %+v", err, m.State())
	}
}

// contents of a snapshot, or of etcd, by key.
type contents map[string]mirror.KeyValue

func held(s *mirror.Snapshot) contents {
	c := make(contents)
	for kv := range s.All() {
		c[kv.Key] = kv
	}
	return c
}

// stored reads the prefix at a revision; 0 is the newest, which it returns.
func stored(t testing.TB, cli *clientv3.Client, prefix string, revision int64) (contents, int64) {
	t.Helper()
	resp, err := cli.Get(within(t, generous), prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	if err != nil {
		t.Fatalf("get %q at revision %d: %v", prefix, revision, err)
	}
	c := make(contents)
	for _, kv := range resp.Kvs {
		c[string(kv.Key)] = mirror.KeyValue{
			Key: string(kv.Key), Value: string(kv.Value), CreateRevision: kv.CreateRevision,
			ModRevision: kv.ModRevision, Version: kv.Version, Lease: clientv3.LeaseID(kv.Lease),
		}
	}
	if revision == 0 {
		revision = resp.Header.Revision
	}
	return c, revision
}

// wantSame compares a copy with what it is a copy of.
func wantSame(t testing.TB, what string, got, want contents) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	var diff []string
	for key, kv := range want {
		if g, ok := got[key]; !ok {
			diff = append(diff, fmt.Sprintf("%q missing, want %+v", key, kv))
		} else if g != kv {
			diff = append(diff, fmt.Sprintf("%q: got %+v, want %+v", key, g, kv))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			diff = append(diff, fmt.Sprintf("%q too much: got %+v", key, got[key]))
		}
	}
	slices.Sort(diff)
	t.Errorf("%s: got %d keys, want %d; %d differ: %s", what, len(got), len(want), len(diff), strings.Join(diff[:min(5, len(diff))], "; "))
}

// wantMirror waits until the mirror is where etcd is now, and compares.
func wantMirror(t testing.TB, m *mirror.Mirror, cli *clientv3.Client, prefix string) {
	t.Helper()
	_, revision := stored(t, cli, prefix, 0)
	wait(t, m, revision)
	s := m.Snapshot()
	want, _ := stored(t, cli, prefix, s.Revision())
	wantSame(t, fmt.Sprintf("the mirror of %q at revision %d", prefix, s.Revision()), held(s), want)
}

// fold applies batches to what was there, and checks that each follows from it.
type fold struct {
	contents
	revision int64
	epoch    uint64
}

func startFold(s *mirror.Snapshot) *fold { return &fold{held(s), s.Revision(), s.Epoch()} }

func (f *fold) apply(t testing.TB, b *mirror.Batch) {
	t.Helper()
	s := b.Snapshot
	if s.Epoch() < f.epoch || s.Epoch() == f.epoch && s.Revision() <= f.revision {
		t.Errorf("a batch leads to revision %d of epoch %d: want one later than %d of %d", s.Revision(), s.Epoch(), f.revision, f.epoch)
	}
	f.revision, f.epoch = s.Revision(), s.Epoch()
	for _, c := range b.Changes {
		old, ok := f.contents[c.Key]
		if ok != (c.Old != nil) || ok && old != *c.Old {
			t.Errorf("change of %q at revision %d: got old %+v, want %+v, %v", c.Key, c.Revision, c.Old, old, ok)
		}
		switch {
		case c.New != nil:
			f.contents[c.Key] = *c.New
		case c.Old == nil:
			t.Errorf("change of %q at revision %d is from nothing to nothing", c.Key, c.Revision)
		default:
			delete(f.contents, c.Key)
		}
	}
}

// records is a logger's output that a test can wait on.
type records struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newRecords() *records { return &records{changed: make(chan struct{}, 1)} }

func (r *records) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return r.buf.Write(b)
}

func (r *records) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// wait returns when the log has the text n times.
func (r *records) wait(t testing.TB, text string, n int) {
	t.Helper()
	deadline := time.After(generous)
	for strings.Count(r.all(), text) < n {
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("no record with %q in:\n%s", text, r.all())
		}
	}
}

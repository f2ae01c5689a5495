package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

func TestOpenReturnsACompleteCopy(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	put(t, cli, prefix+"b", "2")
	put(t, cli, prefix+"b", "3")
	put(t, cli, prefix[:len(prefix)-1]+"0", "a neighbour")
	m := open(t, cli, prefix, nil)
	want, _ := stored(t, cli, prefix, 0)
	wantSame(t, "the first copy", held(m.Snapshot()), want)
	if got, ok := m.Get(prefix + "b"); !ok || got != want[prefix+"b"] {
		t.Errorf("Get b: got %+v, %v, want %+v", got, ok, want[prefix+"b"])
	}
	if got, ok := m.Get(prefix + "c"); ok {
		t.Errorf("Get of a key that does not exist: got %+v", got)
	}
	s := m.State()
	if !s.Fresh || s.Cause != nil || s.Keys != 2 || s.Revision < want[prefix+"b"].ModRevision {
		t.Errorf("State after Open: got %+v, want it fresh, with 2 keys", s)
	}
	if _, err := cli.Delete(t.Context(), prefix[:len(prefix)-1]+"0"); err != nil {
		t.Fatal(err)
	}
}

func TestTheCopyFollows(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix, nil)
	put(t, cli, prefix+"a", "1")
	put(t, cli, prefix+"b", "2")
	before := put(t, cli, prefix+"a", "3")
	wait(t, m, before)
	old := m.Snapshot()
	wait(t, m, del(t, cli, prefix+"a"))
	wantMirror(t, m, cli, prefix)
	if got, ok := m.Get(prefix + "a"); ok {
		t.Errorf("Get of a deleted key: got %+v", got)
	}
	want, _ := stored(t, cli, prefix, before)
	wantSame(t, "a snapshot that was kept", held(old), want)
}

func TestIterationIsOrdered(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, key := range []string{"web/2", "api/1", "web/1", "web", "webb"} {
		put(t, cli, prefix+key, key)
	}
	s := open(t, cli, prefix, nil).Snapshot()
	for _, test := range []struct {
		below string
		want  []string
	}{
		{prefix, []string{"api/1", "web", "web/1", "web/2", "webb"}},
		{prefix + "web/", []string{"web/1", "web/2"}},
		{prefix + "x", nil},
		{"", []string{"api/1", "web", "web/1", "web/2", "webb"}},
	} {
		var got []string
		for kv := range s.WithPrefix(test.below) {
			got = append(got, kv.Value)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("WithPrefix(%q): got %q, want %q", test.below, got, test.want)
		}
	}
	for range s.All() {
		break
	}
	for kv := range new(mirror.Snapshot).All() {
		t.Errorf("the zero Snapshot has %+v", kv)
	}
}

func TestWaitComesWithRevisionsOutsideThePrefix(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix+"in/", &mirror.Options{ConfirmEvery: time.Hour})
	revision := put(t, cli, prefix+"out", "1")
	wait(t, m, revision) // by asking
	if got := m.Snapshot().Revision(); got < revision {
		t.Errorf("revision after Wait: got %d, want %d or later", got, revision)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Wait(ctx, revision+1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for the future: got %v, want the context's error", err)
	}
}

// The Watcher of client.Dial's clients has a bound on its Close, and is clientv3's else.
func TestAClientOfDialIsMirrored(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: shared.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	put(t, shared, prefix+"a", "1")
	wantMirror(t, open(t, cli, prefix, nil), shared, prefix)
}

func TestAnEmptyPrefixIsTheWholeKeyspace(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	m := open(t, cli, "", nil)
	put(t, cli, "\x00", "the first key")
	put(t, cli, "\xff\xff", "one of the last")
	wantMirror(t, m, cli, "")
	high := open(t, cli, "\xff", nil)
	put(t, cli, "\xff\x01", "there is no end to this prefix")
	wantMirror(t, high, cli, "\xff")
}

func TestARangeEndMakesItACopyOfThatRangeOnly(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	one := open(t, cli, prefix+"key", &mirror.Options{RangeEnd: prefix + "key\x00"})
	some := open(t, cli, prefix+"b", &mirror.Options{RangeEnd: prefix + "d"})
	onward := open(t, cli, prefix+"x", &mirror.Options{RangeEnd: "\x00"})
	var last int64
	for _, key := range []string{"a", "b", "c", "d", "key", "keyboard", "x", "y"} {
		last = put(t, cli, prefix+key, key)
	}
	for m, want := range map[*mirror.Mirror]string{one: "key", some: "b c", onward: "x y"} {
		wait(t, m, last)
		var got []string
		for kv := range m.Snapshot().WithPrefix(prefix) {
			got = append(got, kv.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if _, err := cli.Delete(t.Context(), prefix+"key"); err != nil {
		t.Fatal(err)
	}
	wait(t, one, put(t, cli, prefix+"keyboard", "again"))
	if n := one.Snapshot().Len(); n != 0 {
		t.Errorf("after the deletion of its only key: %d keys, want none", n)
	}
}

func TestWhatCannotBeMirroredIsSaidBeforeAnythingIsSent(t *testing.T) {
	unreachable := quickClient(t, "127.0.0.1:1")
	wrapped := clientv3.NewCtxClient(unreachable.Ctx())
	wrapped.KV, wrapped.Watcher = namespace.NewKV(unreachable.KV, "ns/"), namespace.NewWatcher(unreachable.Watcher, "ns/")
	for _, test := range []struct {
		name   string
		cli    *clientv3.Client
		prefix string
		opts   *mirror.Options
		want   error
	}{
		{"NUL", unreachable, "a\x00b", nil, mirror.ErrInvalid},
		{"only NUL", unreachable, "\x00", nil, mirror.ErrInvalid},
		{"namespace", wrapped, "a", nil, mirror.ErrInvalid},
		{"negative time", unreachable, "a", &mirror.Options{WatchTimeout: -1}, mirror.ErrInvalid},
		{"range that ends before it begins", unreachable, "b", &mirror.Options{RangeEnd: "a"}, mirror.ErrInvalid},
		{"range without a key", unreachable, "b", &mirror.Options{RangeEnd: "b"}, mirror.ErrInvalid},
		{"tiny time", unreachable, "a", &mirror.Options{ConfirmEvery: 5}, mirror.ErrInvalid},
	} {
		m, err := mirror.Open(t.Context(), test.cli, test.prefix, test.opts)
		if !errors.Is(err, test.want) || m != nil {
			t.Errorf("%s: Open %q: got %v, %v, want %v", test.name, test.prefix, m, err, test.want)
		}
	}
}

func TestOpenWithoutEtcdEndsWithItsContextAndSaysWhy(t *testing.T) {
	cli := quickClient(t, "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := mirror.Open(ctx, cli, "a", nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Open where no process listens: got %v, want its deadline's error, with the endpoint and the cause", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix, nil)
	put(t, cli, prefix+"a", "1")
	wantMirror(t, m, cli, prefix)
	if err := m.Err(); err != nil {
		t.Errorf("Err of an open mirror: got %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		for _, err := range m.Changes(t.Context(), nil) {
			ended <- err
		}
	}()
	for range 2 {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	select {
	case <-m.Done():
	default:
		t.Error("Done is open after Close")
	}
	for what, err := range map[string]error{"Err": m.Err(), "Changes": <-ended, "Wait": m.Wait(t.Context(), 1<<40), "State": m.State().Cause} {
		if !errors.Is(err, mirror.ErrClosed) {
			t.Errorf("%s after Close: got %v, want ErrClosed", what, err)
		}
	}
	if _, ok := m.Get(prefix + "a"); !ok || m.State().Fresh {
		t.Errorf("after Close: key there: %v, state %+v: want the copy, stale", ok, m.State())
	}
}

func TestAMirrorEndsWithItsClient(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli := quickClient(t, shared.Endpoints()...)
	m := open(t, cli, prefix, nil)
	cli.Close()
	select {
	case <-m.Done():
	case <-time.After(generous):
		t.Fatal("Done is open after the client was closed")
	}
	if err := m.Err(); !errors.Is(err, mirror.ErrClosed) || !strings.Contains(err.Error(), "client") {
		t.Errorf("Err: got %v, want ErrClosed, because of the client", err)
	}
	if _, err := mirror.Open(t.Context(), cli, prefix, nil); !errors.Is(err, mirror.ErrClosed) {
		t.Errorf("Open with a closed client: got %v, want ErrClosed", err)
	}
}

// A transaction of 128 operations, as large as etcd takes, becomes visible at once.
func TestATransactionIsVisibleAllAtOnce(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix, nil)
	const ops, rounds = 128, 20
	value := func(round int) string { return fmt.Sprintf("%03d", round) + strings.Repeat("x", 8000) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		for round := range rounds {
			var puts []clientv3.Op
			for i := range ops {
				puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%03d", prefix, i), value(round)))
			}
			if _, err := cli.Txn(t.Context()).Then(puts...).Commit(); err != nil {
				t.Errorf("transaction %d: %v", round, err)
				return
			}
		}
	}()
	seen := 0
	for b, err := range m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true, Buffer: 1 << 30}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Changes) != ops {
			t.Errorf("batch at revision %d: got %d changes, want %d", b.Snapshot.Revision(), len(b.Changes), ops)
		}
		for _, s := range []*mirror.Snapshot{b.Snapshot, m.Snapshot()} {
			values := make(map[string]int)
			for kv := range s.All() {
				values[kv.Value[:3]]++
			}
			if len(values) != 1 || s.Len() != ops {
				t.Fatalf("snapshot at revision %d: got keys by round %v, want %d of one", s.Revision(), values, ops)
			}
		}
		if seen++; seen == rounds {
			break
		}
	}
	<-done
	wantMirror(t, m, cli, prefix)
	if s := m.Stats(); s.Events != ops*rounds || s.Transactions != rounds {
		t.Errorf("Stats: got %d events in %d transactions, want %d in %d", s.Events, s.Transactions, ops*rounds, rounds)
	}
}

func TestLargeValuesAndSmallMessagesArePaged(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	value := strings.Repeat("x", 20_000)
	var ops []clientv3.Op
	for i := range 640 {
		if ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s%04d", prefix, i), value)); len(ops) == 64 {
			if _, err := shared.Txn(t.Context()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), MaxCallRecvMsgSize: 100_000, MaxCallSendMsgSize: 50_000, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	m := open(t, cli, prefix, nil)
	if got := m.Snapshot().Len(); got != 640 {
		t.Errorf("keys: got %d, want 640", got)
	}
	wait(t, m, put(t, shared, prefix+"0000", strings.Repeat("y", 200_000))) // the watch takes any size
}

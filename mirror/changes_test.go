package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// reader takes batches one at a time.
type reader struct {
	t    testing.TB
	next func() (*mirror.Batch, error, bool)
}

func read(t testing.TB, changes iter.Seq2[*mirror.Batch, error]) *reader {
	next, stop := iter.Pull2(changes)
	t.Cleanup(stop)
	return &reader{t, next}
}

func (r *reader) batch() *mirror.Batch {
	r.t.Helper()
	b, err, ok := r.next()
	if err != nil || !ok {
		r.t.Fatalf("the next batch: got %v, %v", err, ok)
	}
	return b
}

// text is a batch in short: +key=value for a put, -key for a deletion, ~ before a synthesised one.
func text(b *mirror.Batch, prefix string) string {
	var parts []string
	for _, c := range b.Changes {
		part := "-" + strings.TrimPrefix(c.Key, prefix)
		if c.New != nil {
			part = "+" + strings.TrimPrefix(c.Key, prefix) + "=" + c.New.Value
		}
		if c.Synthesised {
			part = "~" + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func wantBatch(t testing.TB, b *mirror.Batch, prefix, want string) {
	t.Helper()
	if got := text(b, prefix); got != want {
		t.Errorf("batch to revision %d: got %q, want %q", b.Snapshot.Revision(), got, want)
	}
}

func TestChangesComeByTransaction(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	m := open(t, cli, prefix, nil)
	changes := m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true})
	f := startFold(m.Snapshot())
	put(t, cli, prefix+"b", "2")
	wait(t, m, put(t, cli, prefix+"b", "3")) // before the range begins
	r := read(t, changes)
	first := r.batch()
	wantBatch(t, first, prefix, "~+b=3")
	f.apply(t, first)
	_, err := cli.Txn(t.Context()).Then(clientv3.OpPut(prefix+"c", "4"), clientv3.OpDelete(prefix+"a")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	put(t, cli, prefix+"c", "5")
	wait(t, m, put(t, cli, prefix+"c", "6"))
	for _, want := range []string{"+c=4 -a", "+c=5", "+c=6"} {
		b := r.batch()
		wantBatch(t, b, prefix, want)
		f.apply(t, b)
		wantSame(t, "the changes so far", f.contents, held(b.Snapshot))
	}
}

func TestChangesAreConflatedForASlowReader(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	put(t, cli, prefix+"gone", "1")
	m := open(t, cli, prefix, nil)
	for _, buffer := range []int{0, 1} { // enough, and not: by queue and by comparing
		r := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{Buffer: buffer}))
		wait(t, m, put(t, cli, prefix+"begin", fmt.Sprint(buffer)))
		r.batch()
		f := startFold(m.Snapshot())
		put(t, cli, prefix+"a", "2")
		put(t, cli, prefix+"brief", "1")
		put(t, cli, prefix+"b", "1")
		del(t, cli, prefix+"brief")
		put(t, cli, prefix+"a", "3")
		put(t, cli, prefix+"gone", "farewell")
		wait(t, m, del(t, cli, prefix+"gone"))
		b := r.batch()
		last := map[int]string{0: "farewell", 1: "1"}[buffer]
		for _, c := range b.Changes {
			if c.Key == prefix+"gone" && (c.Old.Value != "1" || c.Previous.Value != last) {
				t.Errorf("buffer %d: gone was %q, and %q at last, want 1 and %s", buffer, c.Old.Value, c.Previous.Value, last)
			}
		}
		want := "+b=1 +a=3 -gone"
		if buffer == 1 {
			want = "~+b=1 ~+a=3 ~-gone"
		}
		wantBatch(t, b, prefix, want)
		f.apply(t, b)
		wantSame(t, "what was there and the changes", f.contents, held(m.Snapshot()))
		put(t, cli, prefix+"gone", "1")
		wait(t, m, del(t, cli, prefix+"b"))
	}
}

func TestAReaderOfEveryTransactionThatIsTooSlowCanGoOn(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix, nil)
	opts := &mirror.ChangesOptions{EachTransaction: true, Buffer: 1000}
	r := read(t, m.Changes(within(t, generous), opts))
	put(t, cli, prefix+"a", "1")
	last := r.batch()
	for i := range 20 {
		wait(t, m, put(t, cli, prefix+"b", fmt.Sprint(i)))
	}
	if _, err, _ := r.next(); !errors.Is(err, mirror.ErrSlow) {
		t.Errorf("after 20 transactions and a buffer of 1,000 bytes: got %v, want ErrSlow", err)
	}
	if _, _, more := r.next(); more {
		t.Error("the sequence goes on after its error")
	}
	opts.From = last.Snapshot
	wantBatch(t, read(t, m.Changes(within(t, generous), opts)).batch(), prefix, "~+b=19")
}

func TestChangesFromNothingBeginWithEveryKey(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"b", "1")
	put(t, cli, prefix+"a", "2")
	m := open(t, cli, prefix, nil)
	for range 2 { // a sequence can be used again
		r := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{From: new(mirror.Snapshot)}))
		wantBatch(t, r.batch(), prefix, "~+b=1 ~+a=2")
	}
}

func TestChangesEndWithTheirContext(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := open(t, cli, prefix, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	r := read(t, m.Changes(ctx, nil))
	put(t, cli, prefix+"a", "1")
	r.batch()
	why := errors.New("the user went home")
	cancel(why)
	if _, err, _ := r.next(); !errors.Is(err, why) {
		t.Errorf("after cancel: got %v, want its cause", err)
	}
	if err := m.Wait(ctx, m.Snapshot().Revision()+1000); !errors.Is(err, why) {
		t.Errorf("Wait: got %v, want the cause of the context's end", err)
	}
	for _, err := range m.Changes(t.Context(), &mirror.ChangesOptions{Buffer: -1}) {
		if !errors.Is(err, mirror.ErrInvalid) {
			t.Errorf("with a negative buffer: got %v, want ErrOptions", err)
		}
	}
}

package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

func put(t testing.TB, cli *clientv3.Client, key, value string, opts ...clientv3.OpOption) int64 {
	t.Helper()
	resp, err := cli.Put(within(t, generous), key, value, opts...)
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

// pass makes n revisions without the key.
func pass(t testing.TB, cli *clientv3.Client, prefix string, n int) {
	t.Helper()
	for range n {
		put(t, cli, prefix+"other", "")
	}
}

// history as text: "create@3=a put@4=b delete@5".
func history(t testing.TB, cli *clientv3.Client, key string, opts *keys.HistoryOptions) (string, *keys.History) {
	t.Helper()
	h, err := keys.ReadHistory(within(t, generous), cli, key, opts)
	if err != nil {
		t.Fatalf("history of %q: %v", key, err)
	}
	var b []string
	for _, c := range slices.Backward(h.Changes) {
		text := fmt.Sprintf("%s@%d", c.Kind, c.Revision)
		if c.Kind != keys.Deleted {
			text += "=" + string(c.Value)
		}
		b = append(b, text)
	}
	return strings.Join(b, " "), h
}

func TestAHistoryHasEveryLifeOfAKey(t *testing.T) {
	c := etcdtest.NewCluster(t, oneMember())
	cli := etcdtest.Client(t, c)
	pass(t, cli, "", 3)
	granted, err := cli.Grant(within(t, generous), 600)
	if err != nil {
		t.Fatal(err)
	}
	a := put(t, cli, "k", "a", clientv3.WithLease(granted.ID))
	b := put(t, cli, "k", "b")
	gone := del(t, cli, "k")
	again := put(t, cli, "k", "")
	goneAgain := del(t, cli, "k")
	pass(t, cli, "", 20)
	last := put(t, cli, "k", "c")
	pass(t, cli, "", 3)
	want := fmt.Sprintf("create@%d=a put@%d=b delete@%d create@%d= delete@%d create@%d=c", a, b, gone, again, goneAgain, last)
	got, h := history(t, cli, "k", nil)
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !h.Exists || h.More || h.Compacted != 0 || len(h.Gaps) != 0 {
		t.Errorf("got %+v, want it complete", h)
	}
	if first := h.Changes[len(h.Changes)-1]; first.Lease != granted.ID || first.Version != 1 || first.CreateRevision != a {
		t.Errorf("the first change: got %+v, want lease %x and version 1", first, granted.ID)
	}
	del(t, cli, "k")
	if got, h := history(t, cli, "k", nil); !strings.HasPrefix(got, want+" delete@") || h.Exists {
		t.Errorf("after a deletion: got %s", got)
	}
	if got, h := history(t, cli, "k", &keys.HistoryOptions{Limit: 3}); !h.More || len(h.Changes) != 3 || !strings.HasPrefix(got, fmt.Sprintf("delete@%d create@%d=c delete@", goneAgain, last)) {
		t.Errorf("of three changes: got %s, more: %v", got, h.More)
	}
	if got, h := history(t, cli, "k", &keys.HistoryOptions{From: b, To: again}); got != fmt.Sprintf("put@%d=b delete@%d create@%d=", b, gone, again) || !h.Exists || h.More {
		t.Errorf("from %d to %d: got %s, %+v", b, again, got, h)
	}
	if got, h := history(t, cli, "never", nil); got != "" || h.Exists || len(h.Gaps) != 0 {
		t.Errorf("of a key that never was: got %s, %+v", got, h)
	}

	rest := fmt.Sprintf("create@%d= delete@%d create@%d=c", again, goneAgain, last)
	for _, c := range []struct {
		at   int64
		want []string
	}{
		{b, []string{fmt.Sprintf("put@%d=b delete@%d ", b, gone) + rest}},
		{gone, []string{rest, fmt.Sprintf("delete@%d ", gone) + rest}}, // versions of etcd differ in this
		{again, []string{rest}},
	} {
		if _, err := cli.Compact(within(t, generous), c.at); err != nil {
			t.Fatal(err)
		}
		got, h := history(t, cli, "k", nil)
		if got, _, _ = strings.Cut(got, "=c "); h.Compacted != c.at || !slices.Contains(c.want, got+"=c") {
			t.Errorf("compacted at %d: got %s, compacted %d; want one of %q", c.at, got, h.Compacted, c.want)
		}
	}
}

func TestALifeBeyondTheSearchIsFoundWithAGap(t *testing.T) {
	c := etcdtest.NewCluster(t, oneMember())
	cli := etcdtest.Client(t, c)
	a := put(t, cli, "k", "long")
	pass(t, cli, "", 200)
	gone := del(t, cli, "k")
	pass(t, cli, "", 20)
	put(t, cli, "k", "too short to be seen")
	del(t, cli, "k")
	pass(t, cli, "", 100)
	got, h := history(t, cli, "k", &keys.HistoryOptions{Search: 50})
	if want := fmt.Sprintf("create@%d=long delete@%d", a, gone); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(h.Gaps) == 0 || h.Gaps[0] != (keys.Gap{After: gone, Before: h.Revision - 50}) {
		t.Errorf("got the gaps %v, want the first one from %d to %d", h.Gaps, gone, h.Revision-50)
	}
	if got, h := history(t, cli, "k", nil); !strings.Contains(got, "too short") || len(h.Gaps) != 0 {
		t.Errorf("searched through: got %s, %v", got, h.Gaps)
	}
}

func TestADeletedKeyComesBackWithItsLastValue(t *testing.T) {
	cli, p := etcdtest.New(t)
	k := p + "k"
	granted, err := cli.Grant(within(t, generous), 600)
	if err != nil {
		t.Fatal(err)
	}
	first := put(t, cli, k, "first")
	last := put(t, cli, k, "last\x00", clientv3.WithLease(granted.ID))
	if _, err := cli.Revoke(within(t, generous), granted.ID); err != nil {
		t.Fatal(err)
	}
	r, err := keys.Undelete(within(t, generous), cli, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Value) != "last\x00" || r.From != last || r.Lease != granted.ID || len(r.Gaps) != 0 {
		t.Errorf("got %+v, want the value of revision %d, and lease %x", r, last, granted.ID)
	}
	resp, err := cli.Get(within(t, generous), k)
	if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "last\x00" || resp.Kvs[0].Lease != 0 || resp.Kvs[0].ModRevision != r.Revision {
		t.Errorf("the key is %v, %v; want it written at revision %d, without a lease", resp.Kvs, err, r.Revision)
	}
	if _, err := keys.Undelete(within(t, generous), cli, k, nil); !errors.Is(err, keys.ErrExists) {
		t.Errorf("a key that exists: got %v, want ErrExists", err)
	}
	if _, err := keys.UndeleteAt(within(t, generous), cli, k, first); !errors.Is(err, keys.ErrExists) {
		t.Errorf("a key that exists: got %v, want ErrExists", err)
	}
	gone := del(t, cli, k)
	if _, err := keys.UndeleteAt(within(t, generous), cli, k, gone); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("as of its deletion: got %v, want ErrNotFound", err)
	}
	if r, err := keys.UndeleteAt(within(t, generous), cli, k, first); err != nil || string(r.Value) != "first" {
		t.Errorf("as of revision %d: got %+v, %v", first, r, err)
	}
	if _, err := keys.Undelete(within(t, generous), cli, p+"never", nil); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("a key that never was: got %v, want ErrNotFound", err)
	}
}

func TestBadArgumentsOfAHistoryAreRefusedBeforeAnythingIsSent(t *testing.T) {
	cli := clientv3.NewCtxClient(context.Background()) // it cannot send
	for _, err := range []error{
		second(keys.ReadHistory(t.Context(), cli, "", nil)),
		second(keys.ReadHistory(t.Context(), cli, "k", &keys.HistoryOptions{Limit: -1})),
		second(keys.ReadHistory(t.Context(), cli, "k", &keys.HistoryOptions{From: 3, To: 2})),
		second(keys.Undelete(t.Context(), cli, "", nil)),
		second(keys.UndeleteAt(t.Context(), cli, "k", 0)),
	} {
		if !errors.Is(err, keys.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

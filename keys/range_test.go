package keys_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

func TestARangeIsCountedAndDeletedInParts(t *testing.T) {
	cli, p := etcdtest.New(t)
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("%sa/%02d", p, i))
	}
	putAll(t, cli, append(names, p+"a", p+"a0", p+"b")...)
	n, err := keys.Count(within(t, generous), cli, keys.Prefix(p+"a/"))
	if err != nil || n != 25 {
		t.Errorf("got %d keys, %v; want 25", n, err)
	}
	var progress []int64
	var gone []string
	deleted, err := keys.Delete(within(t, generous), cli, keys.Prefix(p+"a/"), &keys.DeleteOptions{
		AtOnce: 10, Progress: func(n int64) { progress = append(progress, n) },
		Deleted: func(kvs []*mvccpb.KeyValue) {
			for _, kv := range kvs {
				gone = append(gone, string(kv.Key))
			}
		},
	})
	if err != nil || deleted != 25 || !slices.Equal(progress, []int64{10, 20, 25}) || !slices.Equal(gone, names) {
		t.Errorf("got %d deleted, %v, in parts %v, of %q; want all 25 in three parts", deleted, err, progress, gone)
	}
	if got, want := level(t, cli, p, nil), []string{"a", "a0", "b"}; !slices.Equal(got, want) {
		t.Errorf("what is left: got %q, want %q", got, want)
	}
	if deleted, err := keys.Delete(within(t, generous), cli, keys.Range{From: p + "a", End: p + "b"}, nil); err != nil || deleted != 2 {
		t.Errorf("from a up to b: got %d deleted, %v; want 2", deleted, err)
	}
}

func TestASmallRangeIsDeletedInOneRevision(t *testing.T) {
	cli, p := etcdtest.New(t)
	before := putAll(t, cli, p+"1", p+"2", p+"3")
	if _, err := keys.Delete(within(t, generous), cli, keys.Prefix(p), nil); err != nil {
		t.Fatal(err)
	}
	resp, err := cli.Get(within(t, generous), p, clientv3.WithPrefix())
	if err != nil || resp.Count != 0 || resp.Header.Revision != before+1 {
		t.Errorf("got %d keys at revision %d, %v; want none at %d", resp.Count, resp.Header.Revision, err, before+1)
	}
}

func TestARangeWithoutAnEndIsOneKey(t *testing.T) {
	cli, p := etcdtest.New(t)
	putAll(t, cli, p+"a", p+"ab", p+"b")
	one := keys.Range{From: p + "a"}
	if n, err := keys.Count(within(t, generous), cli, one); err != nil || n != 1 {
		t.Errorf("counted %d, %v; want 1", n, err)
	}
	var got []string
	for kv, err := range keys.Scan(within(t, generous), cli, one, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(kv.Key))
	}
	if !slices.Equal(got, []string{p + "a"}) {
		t.Errorf("a scan yields %q, want a alone", got)
	}
	if n, err := keys.Delete(within(t, generous), cli, one, nil); err != nil || n != 1 {
		t.Errorf("deleted %d, %v; want 1", n, err)
	}
	if n, err := keys.Count(within(t, generous), cli, keys.Prefix(p)); err != nil || n != 2 {
		t.Errorf("%d keys are left, %v; want ab and b", n, err)
	}
}

func TestARangeWithoutAKeyIsRefused(t *testing.T) {
	cli, p := etcdtest.New(t)
	backwards := keys.Range{From: p + "b", End: p + "a"}
	if _, err := keys.Count(within(t, generous), cli, backwards); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("Count: got %v, want ErrInvalid", err)
	}
	if _, err := keys.Delete(within(t, generous), cli, backwards, nil); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("Delete: got %v, want ErrInvalid", err)
	}
	if _, err := keys.Delete(within(t, generous), cli, keys.Prefix(p), &keys.DeleteOptions{AtOnce: -1}); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("Delete of -1 keys at once: got %v, want ErrInvalid", err)
	}
	for name, r := range map[string]keys.Range{"the zero Range": {}, "an empty prefix": keys.Prefix("")} {
		if deleted, err := keys.Delete(within(t, generous), cli, r, nil); !errors.Is(err, keys.ErrInvalid) || deleted != 0 {
			t.Errorf("Delete of %s: got %d deleted, %v, want ErrInvalid", name, deleted, err)
		}
	}
	for r, want := range map[keys.Range]string{
		{}: "all keys", keys.All(): "all keys", keys.Prefix("a/"): `keys with the prefix "a/"`, {From: "a"}: `the key "a"`, {From: "a", End: keys.NoEnd}: `keys from "a"`, {From: "a", End: "c"}: `keys from "a" up to "c"`,
		keys.Prefix(""): "all keys", keys.Prefix("\xff"): `keys with the prefix "\xff"`,
	} {
		if got := r.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAllKeysAreDeletedByName(t *testing.T) {
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	putAll(t, cli, "\x00", "a", "b/1", "\xff")
	if n, err := keys.Count(within(t, generous), cli, keys.All()); err != nil || n != 4 {
		t.Errorf("got %d keys, %v; want 4", n, err)
	}
	if deleted, err := keys.Delete(within(t, generous), cli, keys.All(), nil); err != nil || deleted != 4 {
		t.Errorf("got %d deleted, %v; want 4", deleted, err)
	}
}

func TestAScanHasEveryKeyOfOneRevision(t *testing.T) {
	cli, p := etcdtest.New(t)
	big := strings.Repeat("x", 200<<10)
	for i := range 30 {
		put(t, cli, fmt.Sprintf("%sbig/%02d", p, i), big)
	}
	revision := putAll(t, cli, tenFolders(p, 3000)...)
	putAll(t, cli, p+"late")
	for name, cli := range map[string]*clientv3.Client{"streamed": cli, "unary": unary(cli)} {
		var got []string
		for kv, err := range keys.Scan(within(t, generous), cli, keys.Prefix(p), &keys.ScanOptions{Revision: revision}) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(kv.Value) == 0 {
				t.Errorf("%s: %q has no value", name, kv.Key)
			}
			got = append(got, string(kv.Key))
		}
		if len(got) != 3030 || !slices.IsSorted(got) {
			t.Errorf("%s: got %d keys, in order: %v; want 3,030", name, len(got), slices.IsSorted(got))
		}
		n := 0
		for kv, err := range keys.Scan(within(t, generous), cli, keys.Range{From: p + "5", End: p + "6"}, &keys.ScanOptions{KeysOnly: true}) {
			if err != nil || len(kv.Value) != 0 {
				t.Fatalf("%s: got %d bytes, %v", name, len(kv.Value), err)
			}
			n++
		}
		if n != 300 {
			t.Errorf("%s: got %d keys of one folder, want 300", name, n)
		}
	}
}

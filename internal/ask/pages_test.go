package ask_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// The first half of the keys are small, the others large. Each page that was read adds a key and changes another one.
func TestPagesAreOfOneRevisionAndOfAboutOneSize(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	ctx := bounded(t, generous)
	put := func(key, value string) {
		t.Helper()
		if _, err := cli.Put(ctx, prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	const each, large = 40, 2000
	for i := range each {
		put(fmt.Sprintf("a%02d", i), "small")
		put(fmt.Sprintf("b%02d", i), strings.Repeat("x", large))
	}
	revision := int64(0)
	pages := &ask.Pages{From: prefix, End: clientv3.GetPrefixRangeEnd(prefix), Revision: &revision, Limit: 5, Bytes: 1 << 20}
	get := func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
		return cli.Get(ctx, from, opts...)
	}
	var got, sizes []int
	n := 0
	for kvs, err := range pages.Read(get) {
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range kvs {
			key := strings.TrimPrefix(string(kv.Key), prefix)
			if want := fmt.Sprintf("%c%02d", 'a'+n/each, n%each); key != want || len(kv.Value) == 0 || string(kv.Value) == "changed" {
				t.Errorf("key %d is %q with %d bytes, want %q as it was at the first page", n, key, len(kv.Value), want)
			}
			n++
		}
		got, sizes = append(got, len(kvs)), append(sizes, pages.Limit)
		put("a000", "new")
		put("b39", "changed")
	}
	if n != 2*each || revision == 0 {
		t.Errorf("got %d keys at revision %d, want %d", n, revision, 2*each)
	}
	if want := "[5 20 55]"; fmt.Sprint(got) != want {
		t.Errorf("the pages had %v keys, want %s: four times as many as the one before at most", got, want)
	}
	if sizes[0] != 20 || sizes[1] != 80 {
		t.Errorf("limits %v, want 20 and 80 after the first two pages", sizes)
	}

	// A page of large keys makes the next one smaller.
	pages = &ask.Pages{From: prefix + "b", End: clientv3.GetPrefixRangeEnd(prefix), Revision: new(int64), Limit: 20, Bytes: 10 * large}
	for _, err := range pages.Read(get) {
		if err != nil {
			t.Fatal(err)
		}
		if pages.Limit > 10 || pages.Limit < 9 {
			t.Errorf("the limit is %d after keys of %d bytes, want 9 or 10", pages.Limit, large)
		}
		break
	}
}

func TestPagesEndWithTheFirstError(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pages := &ask.Pages{From: prefix, End: clientv3.GetPrefixRangeEnd(prefix), Revision: new(int64)}
	n := 0
	for kvs, err := range pages.Read(func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
		return cli.Get(ctx, from, opts...)
	}) {
		if n++; err == nil || kvs != nil {
			t.Errorf("got %v, %v, want an error alone", kvs, err)
		}
	}
	if n != 1 {
		t.Errorf("%d pages, want 1", n)
	}
}

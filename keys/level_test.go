package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// putAll writes keys with their own names as values.
func putAll(t testing.TB, cli *clientv3.Client, keys ...string) (revision int64) {
	t.Helper()
	for chunk := range slices.Chunk(keys, 128) {
		ops := make([]clientv3.Op, 0, len(chunk))
		for _, key := range chunk {
			ops = append(ops, clientv3.OpPut(key, "value of "+key))
		}
		resp, err := cli.Txn(within(t, generous)).Then(ops...).Commit()
		if err != nil {
			t.Fatalf("put %q…: %v", chunk[0], err)
		}
		revision = resp.Header.Revision
	}
	return revision
}

// level returns the children: "a" is a key, "b/" a folder, "c +" both.
func level(t testing.TB, cli *clientv3.Client, prefix string, opts *keys.LevelOptions) []string {
	t.Helper()
	var got []string
	for c, err := range keys.Level(within(t, generous), cli, prefix, opts) {
		if err != nil {
			t.Fatalf("the level of %q: %v", prefix, err)
		}
		if c.Path != prefix+c.Name || c.Key != nil && string(c.Key.Key) != c.Path {
			t.Errorf("a child of %q: got %+v", prefix, c)
		}
		switch {
		case c.Key != nil && c.Below != "":
			got = append(got, c.Name+" +")
		case c.Key != nil:
			got = append(got, c.Name)
		default:
			got = append(got, strings.TrimPrefix(c.Below, prefix))
		}
	}
	return got
}

func tree(t testing.TB, cli *clientv3.Client, prefix string, opts *keys.LevelOptions) []string {
	t.Helper()
	var got []string
	for n, err := range keys.Tree(within(t, generous), cli, prefix, opts) {
		if err != nil {
			t.Fatalf("the tree of %q: %v", prefix, err)
		}
		text := fmt.Sprintf("%s%q", strings.Repeat(">", n.Depth), n.Name)
		if n.Key == nil {
			text += "/"
		}
		got = append(got, text)
	}
	return got
}

// unaryKV is a KV without streamed ranges, as etcd 3.6 is.
type unaryKV struct{ clientv3.KV }

func (unaryKV) GetStream(context.Context, string, ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	return nil, status.Error(codes.Unimplemented, "unknown method RangeStream")
}

func unary(cli *clientv3.Client) *clientv3.Client {
	c := clientv3.NewCtxClient(cli.Ctx())
	c.KV = unaryKV{cli.KV}
	return c
}

func TestALevelHasKeysFoldersAndBoth(t *testing.T) {
	cli, p := etcdtest.New(t)
	putAll(t, cli,
		p+"web", p+"web-2", p+"web/1", p+"web/2/x", // a key and a folder, and a name between them
		p+"db/1", p+"zoo", p+"//deep", p+"a//b", p+"\xff\xfe", p+"\x00", p)
	for name, cli := range map[string]*clientv3.Client{"streamed": cli, "unary": unary(cli)} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				prefix string
				opts   *keys.LevelOptions
				want   []string
			}{
				{p, nil, []string{" +", "\x00", "a/", "db/", "web +", "web-2", "zoo", "\xff\xfe"}},
				{p + "/", nil, []string{"/"}},
				{p + "a/", nil, []string{"/"}},
				{p + "we", nil, []string{"b +", "b-2"}},
				{p + "web/", nil, []string{"1", "2/"}},
				{p + "zoo", nil, []string{""}},
				{p + "nothing", nil, nil},
				{p, &keys.LevelOptions{Separator: "-"}, []string{"", "\x00", "//deep", "a//b", "db/1", "web +", "web/1", "web/2/x", "zoo", "\xff\xfe"}},
				{p, &keys.LevelOptions{Separator: "//"}, []string{" +", "\x00", "a//", "db/1", "web", "web-2", "web/1", "web/2/x", "zoo", "\xff\xfe"}},
			} {
				if got := level(t, cli, c.prefix, c.opts); !slices.Equal(got, c.want) {
					t.Errorf("the level of %q, %+v:\n got %q\nwant %q", c.prefix, c.opts, got, c.want)
				}
			}
		})
	}
}

func TestAllKeysHaveALevelToo(t *testing.T) {
	c := etcdtest.NewCluster(t, oneMember())
	cli := etcdtest.Client(t, c)
	putAll(t, cli, "/abs", "a/b", "plain", "\xff\xff", "\x00", "\x00/x")
	want := []string{"\x00 +", "/", "a/", "plain", "\xff\xff"}
	if got := level(t, cli, "", nil); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := level(t, cli, "\xff", nil), []string{"\xff"}; !slices.Equal(got, want) {
		t.Errorf("below the last byte: got %q, want %q", got, want)
	}
	if got, want := tree(t, cli, "", nil), []string{`>"\x00"`, `>"\x00"/`, `>>"x"`, `>""/`, `>>"abs"`, `>"a"/`, `>>"b"`, `>"plain"`, `>"\xff\xff"`}; !slices.Equal(got, want) {
		t.Errorf("the tree: got %q, want %q", got, want)
	}
}

func TestAKeyIsHeldBackForItsFolderAndNotForEver(t *testing.T) {
	cli, p := etcdtest.New(t)
	var names []string
	for i := range 2500 {
		names = append(names, fmt.Sprintf("%sa-%05d", p, i)) // all of them between "a" and "a/"
	}
	putAll(t, cli, append(names, p+"a", p+"a/below", p+"b")...)
	for name, cli := range map[string]*clientv3.Client{"streamed": cli, "unary": unary(cli)} {
		got := level(t, cli, p, nil)
		if len(got) != 2502 || got[0] != "a +" || got[1] != "a-00000" || got[2501] != "b" {
			t.Errorf("%s: got %d children, %q … %q; want 2,502, the first one a key and a folder", name, len(got), got[:2], got[len(got)-1])
		}
	}
}

func TestALevelIsOfOneRevision(t *testing.T) {
	cli, p := etcdtest.New(t)
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("%s%03d", p, i))
	}
	revision := putAll(t, cli, names...)
	if _, err := cli.Delete(within(t, generous), p, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if got := level(t, cli, p, nil); len(got) != 0 {
		t.Errorf("after the deletion: got %q", got)
	}
	n := 0
	for c, err := range keys.Level(within(t, generous), cli, p, &keys.LevelOptions{Revision: revision, Values: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := "value of " + c.Path; string(c.Key.Value) != want || c.Revision != revision {
			t.Fatalf("got %+v, want the value %q of revision %d", c, want, revision)
		}
		n++
	}
	if n != 300 {
		t.Errorf("before the deletion: got %d children, want 300", n)
	}
	var failed error
	for _, err := range keys.Level(within(t, generous), cli, p, &keys.LevelOptions{Revision: revision + 1_000_000}) {
		failed = err
	}
	if !errors.Is(failed, rpctypes.ErrFutureRev) {
		t.Errorf("of a revision to come: got %v, want ErrFutureRev", failed)
	}
	for _, err := range keys.Level(within(t, generous), cli, p, &keys.LevelOptions{Revision: -1}) {
		failed = err
	}
	if !errors.Is(failed, keys.ErrInvalid) {
		t.Errorf("of a negative revision: got %v, want ErrInvalid", failed)
	}
}

func TestValuesComeWithTheirLeases(t *testing.T) {
	cli, p := etcdtest.New(t)
	granted, err := cli.Grant(within(t, generous), 600)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Revoke(context.WithoutCancel(t.Context()), granted.ID)
	if _, err := cli.Put(within(t, generous), p+"leased", "x", clientv3.WithLease(granted.ID)); err != nil {
		t.Fatal(err)
	}
	for _, values := range []bool{false, true} {
		for c, err := range keys.Level(within(t, generous), cli, p, &keys.LevelOptions{Values: values}) {
			if err != nil {
				t.Fatal(err)
			}
			want := int64(0) // etcd 3.7 does not tell it with the key alone
			if values {
				want = int64(granted.ID)
			}
			if c.Key.Lease != want {
				t.Errorf("with values %v: got lease %x, want %x", values, c.Key.Lease, want)
			}
		}
	}
}

// counting returns a client of its own that counts what it sends.
func counting(t testing.TB, cli *clientv3.Client, requests *atomic.Int64) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			requests.Add(1)
			return invoker(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			requests.Add(1)
			return streamer(ctx, desc, cc, method, opts...)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// tenFolders are n keys, and their ten folders.
func tenFolders(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%d/%07d", prefix, i%10, i))
	}
	return names
}

var tenNames = []string{"0/", "1/", "2/", "3/", "4/", "5/", "6/", "7/", "8/", "9/"}

func TestALevelCostsTwoRequestsAndOneForEachLargeFolder(t *testing.T) {
	cli, p := etcdtest.New(t)
	putAll(t, cli, tenFolders(p, 10_000)...)
	putAll(t, cli, tenFolders(p+"small/", 500)...)
	var requests atomic.Int64
	counted := counting(t, cli, &requests)
	if got, want := level(t, counted, p, nil), append(slices.Clone(tenNames), "small/"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := requests.Load(); got > 13 {
		t.Errorf("of eleven large folders: got %d requests, want 13 at most", got)
	}
	requests.Store(0)
	if got := level(t, counted, p+"small/", nil); !slices.Equal(got, tenNames) {
		t.Errorf("got %q, want %q", got, tenNames)
	}
	if got := requests.Load(); got != 2 {
		t.Errorf("of small folders: got %d requests, want 2", got)
	}
	requests.Store(0)
	for range keys.Level(within(t, generous), counted, p, nil) {
		break
	}
	if got := requests.Load(); got != 2 {
		t.Errorf("of one child: got %d requests, want 2", got)
	}
}

func TestATreeIsInOrderAndNotTooDeep(t *testing.T) {
	cli, p := etcdtest.New(t)
	putAll(t, cli, p+"web", p+"web-2", p+"web/1", p+"web/2/x", p+"web/2/y/z", p+"a//b")
	putAll(t, cli, tenFolders(p+"many/", 5000)...)
	for _, c := range []struct {
		prefix string
		depth  int
		want   []string
	}{
		{p, 1, []string{`>"a"/`, `>"many"/`, `>"web"`, `>"web-2"`, `>"web"/`}},
		{p + "web", 2, []string{`>""`, `>"-2"`, `>""/`, `>>"1"`, `>>"2"/`}},
		{p + "web/", 0, []string{`>"1"`, `>"2"/`, `>>"x"`, `>>"y"/`, `>>>"z"`}},
		{p + "a", 0, []string{`>""/`, `>>""/`, `>>>"b"`}},
		{p + "many/", 1, []string{`>"0"/`, `>"1"/`, `>"2"/`, `>"3"/`, `>"4"/`, `>"5"/`, `>"6"/`, `>"7"/`, `>"8"/`, `>"9"/`}},
	} {
		if got := tree(t, cli, c.prefix, &keys.LevelOptions{Depth: c.depth}); !slices.Equal(got, c.want) {
			t.Errorf("the tree of %q, %d deep:\n got %q\nwant %q", c.prefix, c.depth, got, c.want)
		}
	}
	if got := tree(t, cli, p, nil); len(got) != 5000+11+6+5 {
		t.Errorf("the whole tree has %d nodes, want %d", len(got), 5000+11+6+5)
	}
}

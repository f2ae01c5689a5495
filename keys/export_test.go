package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// grant makes a lease that the test's end revokes.
func grant(t testing.TB, cli *clientv3.Client, seconds int64) clientv3.LeaseID {
	t.Helper()
	resp, err := cli.Grant(within(t, generous), seconds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cli.Revoke(context.WithoutCancel(t.Context()), resp.ID) })
	return resp.ID
}

// export is what is below a prefix, as a file.
func export(t testing.TB, cli *clientv3.Client, prefix string, opts *keys.ExportOptions) string {
	t.Helper()
	e, err := keys.OpenExport(within(t, generous), cli, prefix, opts)
	if err != nil {
		t.Fatalf("export %q: %v", prefix, err)
	}
	var b bytes.Buffer
	if err := e.Write(within(t, generous), &b, nil); err != nil {
		t.Fatalf("export %q: %v", prefix, err)
	}
	return b.String()
}

// held is what is below a prefix: "value", or "value on TTL" with the granted TTL of the key's lease; by what
// follows the prefix.
func held(t testing.TB, cli *clientv3.Client, prefix string) map[string]string {
	t.Helper()
	resp, err := cli.Get(within(t, generous), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, kv := range resp.Kvs {
		value := string(kv.Value)
		if kv.Lease != 0 {
			lease, err := cli.TimeToLive(within(t, generous), clientv3.LeaseID(kv.Lease))
			if err != nil {
				t.Fatal(err)
			}
			value += fmt.Sprintf(" on %d", lease.GrantedTTL)
		}
		all[strings.TrimPrefix(string(kv.Key), prefix)] = value
	}
	return all
}

func wantHeld(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[key]; !ok || g != want[key] {
			t.Errorf("%s: %q: got %q, %v, want %q", what, key, g, ok, want[key])
			return
		}
	}
	t.Errorf("%s: got %d keys, want %d: %q", what, len(got), len(want), slices.Sorted(maps.Keys(got)))
}

// fillRandom writes keys and values of any bytes, a part of them on leases.
func fillRandom(t testing.TB, cli *clientv3.Client, prefix string, n int) {
	t.Helper()
	leases := []clientv3.LeaseID{0, 0, grant(t, cli, 600), grant(t, cli, 900)}
	random := rand.New(rand.NewPCG(1, 2))
	some := func(most int) string {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = byte(random.UintN(256))
		}
		return string(b)
	}
	ops := make(map[string]clientv3.Op)
	for i := range n {
		key := fmt.Sprintf("%s%d/%s", prefix, i, some(20))
		ops[key] = clientv3.OpPut(key, some(200), clientv3.WithLease(leases[i%len(leases)]))
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Values(ops)), 100) {
		if _, err := cli.Txn(within(t, generous)).Then(chunk...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnExportIsOneLineForEachKeyAfterAHeader(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	lease := grant(t, cli, 600)
	put(t, cli, prefix+"a", "<1>")
	put(t, cli, prefix+"a", "<2>")
	put(t, cli, prefix+"b\xff", "\x00\xff", clientv3.WithLease(lease))
	revision := put(t, cli, prefix+"c", "")
	lines := strings.Split(export(t, cli, prefix, nil), "\n")
	if len(lines) != 5 || lines[4] != "" {
		t.Fatalf("got %q, want a header and three records", lines)
	}
	status, err := cli.Get(within(t, generous), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		fmt.Sprintf(`{"etcdkit_export":1,"cluster_id":"%x","revision":%d,"prefix":"%s","count":3}`, status.Header.ClusterId, revision, prefix),
		fmt.Sprintf(`{"key":"%sa","value":"<2>","lease":"0","lease_ttl_seconds":0,"lease_remaining_seconds":0,"create_revision":%d,"mod_revision":%d,"version":2}`, prefix, revision-3, revision-2),
		`"value":{"base64":"AP8="},"lease":"` + fmt.Sprintf("%x", lease) + `","lease_ttl_seconds":600,"lease_remaining_seconds":`,
		fmt.Sprintf(`{"key":"%sc","value":"",`, prefix),
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: got %s, want %s in it", i+1, lines[i], want)
		}
	}
}

func TestAnExportIsOfOneRevision(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	const n = 250 // three pages at first
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s%04d", prefix, i))
	}
	putAll(t, cli, names...)
	e, err := keys.OpenExport(within(t, generous), cli, prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for record, err := range e.Records(within(t, generous)) {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			del(t, cli, names[n-1])
			put(t, cli, prefix+"0000-later", "")
		}
		got = append(got, string(record.Key))
	}
	if !slices.Equal(got, names) || e.Count != n {
		t.Errorf("got %d keys, count %d, want the %d of the revision", len(got), e.Count, n)
	}
	if again := export(t, cli, prefix, &keys.ExportOptions{Revision: e.Revision}); !strings.Contains(again, names[n-1]) || strings.Contains(again, "later") {
		t.Errorf("at revision %d again: got %s", e.Revision, again)
	}
}

func TestAnExportOfACompactedOrFutureRevisionIsRefused(t *testing.T) {
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	revision := put(t, cli, "a", "1")
	now := put(t, cli, "a", "2")
	if _, err := cli.Compact(within(t, generous), now); err != nil {
		t.Fatal(err)
	}
	at := &keys.LevelOptions{Revision: revision}
	for name, err := range map[string]error{
		"Level":      failure(keys.Level(within(t, generous), cli, "a", at)),
		"Tree":       failure(keys.Tree(within(t, generous), cli, "a", at)),
		"Scan":       failure(keys.Scan(within(t, generous), cli, keys.Prefix("a"), &keys.ScanOptions{Revision: revision})),
		"UndeleteAt": second(keys.UndeleteAt(within(t, generous), cli, "a", revision)),
		"OpenExport": second(keys.OpenExport(within(t, generous), cli, "a", &keys.ExportOptions{Revision: revision})),
	} {
		if !errors.Is(err, keys.ErrCompacted) || !errors.Is(err, rpctypes.ErrCompacted) || strings.Count(err.Error(), "compacted") != 1 {
			t.Errorf("%s: got %v, want ErrCompacted of this package and of etcd's, said once", name, err)
		}
	}
	for revision, want := range map[int64]error{revision: keys.ErrCompacted, now + 1000: keys.ErrInvalid, -1: keys.ErrInvalid} {
		if _, err := keys.OpenExport(within(t, generous), cli, "a", &keys.ExportOptions{Revision: revision}); !errors.Is(err, want) {
			t.Errorf("revision %d: got %v, want %v", revision, err, want)
		}
	}
}

// failure is the error that a sequence ends with.
func failure[T any](items iter.Seq2[T, error]) error {
	for _, err := range items {
		if err != nil {
			return err
		}
	}
	return nil
}

// full is a file on a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAnExportThatCannotBeWrittenSaysSo(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	e, err := keys.OpenExport(within(t, generous), cli, prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(within(t, generous), full{}, nil); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "keys: write ") {
		t.Errorf("got %v, want that it is of the writing", err)
	}
}

func TestALeaseThatEndedIsMarkedInAnExport(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	lease := grant(t, cli, 600)
	revision := put(t, cli, prefix+"a", "1", clientv3.WithLease(lease))
	if _, err := cli.Revoke(within(t, generous), lease); err != nil {
		t.Fatal(err)
	}
	file := export(t, cli, prefix, &keys.ExportOptions{Revision: revision})
	if !strings.Contains(file, `"lease_ttl_seconds":0,"lease_remaining_seconds":-1`) {
		t.Errorf("got %s", file)
	}
	counts, err := keys.Import(within(t, generous), cli, strings.NewReader(file), nil)
	if want := (keys.Counts{Read: 1, Total: 1, Skipped: 1}); err != nil || counts != want {
		t.Errorf("import: got %+v, %v, want %+v", counts, err, want)
	}
}

package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/backup"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

const generous = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	t.Cleanup(cancel)
	return ctx
}

// saved is a snapshot of the test's etcd, in which prefix has n keys.
func saved(t *testing.T, n int) (file, prefix string, revision int64) {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	for i := range n {
		resp, err := cli.Put(within(t), fmt.Sprintf("%s%03d", prefix, i), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		revision = resp.Header.Revision
	}
	file = filepath.Join(t.TempDir(), "backup.db")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int64
	if err := backup.Save(within(t), cli, f, func(n int64) { steps = append(steps, n) }); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1] != info.Size() {
		t.Errorf("got steps %v, want them up to the size, %d", steps, info.Size())
	}
	return file, prefix, revision
}

func TestASnapshotIsChecked(t *testing.T) {
	file, _, revision := saved(t, 20)
	s, err := backup.Check(within(t), file)
	if err != nil {
		t.Fatal(err)
	}
	if s.Revision < revision || s.Keys < 20 || s.Checksum != "ok" {
		t.Errorf("got %+v, want revision %d and 20 keys at least, and a checksum", s, revision)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := append([]byte(nil), whole...)
	changed[len(changed)/2] ^= 1
	for what, content := range map[string][]byte{
		"cut off":                       whole[:len(whole)-100],
		"cut off at a page":             whole[:8192+32],
		"changed":                       changed,
		"empty":                         nil,
		"text":                          []byte("hello"),
		"text as long as a database":    []byte(strings.Repeat("hello   ", 1024)),
		"changed, without its checksum": changed[:len(changed)-32][:4096],
	} {
		name := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Check(within(t), name); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", what, err)
		}
	}
	if err := os.WriteFile(file, whole[:len(whole)-32], 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := backup.Check(within(t), file); err != nil || s.Checksum != "none" {
		t.Errorf("without its checksum: got %+v, %v, want none", s, err)
	}
}

// start runs a member on a data directory, and returns a client of it.
func start(t *testing.T, dir string) *clientv3.Client {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel, cfg.EnableGRPCGateway = "m1", dir, "panic", false
	free := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.ListenPeerUrls = free, free, free
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	cfg.InitialCluster = "m1=http://localhost:2380"
	member, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(member.Close)
	select {
	case <-member.Server.ReadyNotify():
	case <-within(t).Done():
		t.Fatal("the restored member is not ready")
	}
	cli := v3client.New(member.Server)
	t.Cleanup(func() { cli.Close() })
	return cli
}

func TestAMemberStartsOnARestoredDirectory(t *testing.T) {
	file, prefix, revision := saved(t, 20)
	for what, bump := range map[string]uint64{"as it was": 0, "with a bumped revision": 1_000_000} {
		dir := filepath.Join(t.TempDir(), "data")
		r := backup.Restore{
			File: file, DataDir: dir + "/", Name: "m1", PeerURLs: []string{"http://localhost:2380"}, InitialCluster: "m1=http://localhost:2380", Token: "t",
			BumpRevision: bump, MarkCompacted: bump > 0,
		}
		if err := r.Run(within(t)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := r.Run(within(t)); !errors.Is(err, backup.ErrExists) {
			t.Errorf("%s, again: got %v, want ErrExists", what, err)
		}
		resp, err := start(t, dir).Get(within(t), prefix, clientv3.WithPrefix())
		if err != nil || len(resp.Kvs) != 20 || resp.Header.Revision < revision+int64(bump) {
			t.Errorf("%s: got %v, %v, want 20 keys at revision %d or later", what, resp, err, revision+int64(bump))
		}
	}
}

func TestARestoreThatFailsLeavesNothing(t *testing.T) {
	file, _, _ := saved(t, 1)
	good := backup.Restore{File: file, Name: "m1", PeerURLs: []string{"http://localhost:2380"}, InitialCluster: "m1=http://localhost:2380", Token: "t"}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("x", 8192)), 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, change := range map[string]func(r *backup.Restore){
		"another peer URL": func(r *backup.Restore) { r.PeerURLs = []string{"http://localhost:1"} },
		"no snapshot":      func(r *backup.Restore) { r.File, r.SkipHashCheck = text, true },
		"no file":          func(r *backup.Restore) { r.File += "x" },
		"no checksum":      func(r *backup.Restore) { r.File = text },
		"interrupted":      func(*backup.Restore) {},
	} {
		parent := t.TempDir()
		r := good
		r.DataDir, r.WALDir = filepath.Join(parent, "data"), filepath.Join(parent, "wal")
		change(&r)
		ctx := within(t)
		if what == "interrupted" {
			ctx = cancelled
		}
		if err := r.Run(ctx); err == nil {
			t.Errorf("%s: got no error", what)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", what, left, err)
		}
	}
}

func TestAnInterruptedSaveEnds(t *testing.T) {
	cli, _ := etcdtest.New(t)
	ctx, cancel := context.WithCancel(within(t))
	err := backup.Save(ctx, cli, io.Discard, func(int64) { cancel() })
	if err != nil && !errors.Is(err, context.Canceled) { // it may have come to its end already
		t.Errorf("got %v, want context.Canceled", err)
	}
	cancel()
	if err := backup.Save(ctx, cli, io.Discard, func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

package discovery_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// savedFile is the one file in a folder.
func savedFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v: want one file", entries, err)
	}
	return filepath.Join(dir, entries[0].Name())
}

func TestAClientStartsWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	dir := filepath.Join(t.TempDir(), "lists")
	opts := &discovery.Options{Dir: dir}
	put(t, cli, "/services/web/a", meta(`"weight":7`))
	put(t, cli, "/services/web/bad", `{"Addr":`)
	v, err := discovery.Open(bounded(t), cli, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	put(t, cli, "/services/web/b", "value-2379")
	until(t, v, "a b")
	if err := v.Close(); err != nil { // writes what it knows last
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		if _, err := c.Pause(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	v, err = discovery.Open(bounded(t), cli, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	s := v.State()
	if ids(v.Instances()) != "a b" || v.Instances()[0].Weight != 7 || v.Instances()[1].Raw != "value-2379" {
		t.Errorf("list %+v, want what was saved", v.Instances())
	}
	if s.Fresh || !errors.Is(s.Cause, discovery.ErrSaved) || s.Revision == 0 || time.Since(s.Confirmed) > within {
		t.Errorf("state %+v, want it marked as saved, and when", s)
	}
	if i, err := v.Pick(); err != nil {
		t.Errorf("pick: %v, %v", i, err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for list, err := range discovery.Watch(brief, cli, "web", opts) { // which could not say that it is an old one
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Watch without etcd: %v, %v, want DeadlineExceeded", list, err)
		}
	}
	turned := v.FreshnessChanged()
	for _, name := range c.Names() {
		if _, err := c.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	putAfterOutage(t, cli, "/services/web/c", "h:3")
	until(t, v, "a b c")
	<-turned
	if s := v.State(); !s.Fresh || s.Cause != nil {
		t.Errorf("state %+v, want it fresh", s)
	}
}

func TestAChangeIsSavedBeforeLong(t *testing.T) {
	dir := t.TempDir()
	v, cli, prefix := view(t, discovery.Options{Dir: dir}, map[string]string{"a": "h:1"})
	put(t, cli, prefix+"web/late", "h:2")
	until(t, v, "a late")
	saves(t, dir, "late")
}

func TestWhatAKilledProcessLeftHalfWrittenIsRemoved(t *testing.T) {
	dir := t.TempDir()
	v, _, prefix := view(t, discovery.Options{Dir: dir}, map[string]string{"a": "h:1"})
	saves(t, dir, prefix)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	file := savedFile(t, dir)
	left, now := file+".1.tmp", file+".2.tmp"
	for _, path := range []string{left, now} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	cli, _ := etcdtest.New(t)
	again, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Prefix: prefix, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
	if _, err := os.Stat(now); err != nil {
		t.Errorf("what another process may be writing: %v", err)
	}
}

// saves waits until what is on disk has a text.
func saves(t *testing.T, dir, text string) {
	t.Helper()
	for ctx := bounded(t); ; {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 1 && filepath.Ext(entries[0].Name()) == ".json" {
			if b, err := os.ReadFile(filepath.Join(dir, entries[0].Name())); err == nil && strings.Contains(string(b), text) {
				return
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%q is not saved", text)
		}
	}
}

func TestWhileInstancesAreKeptTheFileStaysAsItWas(t *testing.T) {
	dir := t.TempDir()
	v, cli, prefix := view(t, discovery.Options{Dir: dir}, nil)
	l := leased(t, cli, names(prefix, "a b c", ours))
	saves(t, dir, `"c"`)
	revoke(t, cli, l)
	untilStatuses(t, v, "a:expired b:expired c:expired")
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	saves(t, dir, `"c"`)
}

func TestAListThatCouldNotBeSavedIsSavedLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lists")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the folder's place
		t.Fatal(err)
	}
	view(t, discovery.Options{Dir: dir}, map[string]string{"a": "h:1"})
	<-time.After(100 * time.Millisecond) // it has failed once
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	saves(t, dir, `"a"`)
}

func TestASavedListIsTakenThoughThereIsLittleTime(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	opts := &discovery.Options{Prefix: prefix, Dir: t.TempDir()}
	put(t, cli, prefix+"web/a", "h:1")
	v, err := discovery.Open(bounded(t), cli, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	unreachable, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unreachable.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	if v, err = discovery.Open(ctx, unreachable, "web", opts); err != nil {
		t.Fatal(err)
	}
	if ids(v.Instances()) != "a" {
		t.Errorf("list %q, want what was saved", ids(v.Instances()))
	}
	v.Close()
}

func TestASavedListThatIsNoGoodIsNotUsed(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	dir := t.TempDir()
	opts := &discovery.Options{Prefix: prefix, Dir: dir}
	v, err := discovery.Open(bounded(t), cli, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	path := savedFile(t, dir)
	for _, content := range []string{"", "{", `{"service":"other","prefix":"/services/"}`, strings.Repeat(" ", 17<<20)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		put(t, cli, prefix+"web/a", "h:1")
		v, err := discovery.Open(bounded(t), cli, "web", opts)
		if err != nil {
			t.Fatalf("%.30q on disk: %v", content, err)
		}
		if s := v.State(); !s.Fresh || ids(v.Instances()) != "a" {
			t.Errorf("%.30q on disk: list %q, state %+v, want etcd's", content, ids(v.Instances()), s)
		}
		v.Close()
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), `"a"`) {
		t.Errorf("the file is now %.40q, %v, want the list", b, err)
	}
}

func TestAListThatIsTooLongIsNotSaved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	dir := t.TempDir()
	opts := &discovery.Options{Prefix: prefix, Dir: dir}
	v, err := discovery.Open(bounded(t), cli, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	savedFile(t, dir)
	if v, err = discovery.Open(bounded(t), cli, "web", opts); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 60<<10)
	for n := range 300 {
		put(t, cli, prefix+"web/"+string(rune('a'+n%26))+strings.Repeat("n", n/26), big)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v: want no file of an old list, and none that is longer than 16 MiB", entries, err)
	}
}

// The client that a program has while etcd is away is client.New's.
func TestAViewStartsFromItsSavedListWithALazyClient(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	put(t, shared, prefix+"web/a", "h:1")
	g := etcdtest.NewGate(t, shared.Endpoints()[0])
	opts := &discovery.Options{Prefix: prefix, Dir: t.TempDir()}
	open := func() *discovery.View {
		t.Helper()
		cli, err := client.New(&client.Options{Endpoints: []string{g.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cli.Close() })
		v, err := discovery.Open(bounded(t), cli, "web", opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		return v
	}
	if err := open().Close(); err != nil { // saves its list
		t.Fatal(err)
	}
	g.SetTarget("")
	v := open()
	if s := v.State(); ids(v.Instances()) != "a" || s.Fresh || !errors.Is(s.Cause, discovery.ErrSaved) {
		t.Errorf("list %q, state %+v, want the saved one, stale for that reason", ids(v.Instances()), s)
	}
	put(t, shared, prefix+"web/b", "h:2")
	turned := v.FreshnessChanged()
	g.SetTarget(shared.Endpoints()[0])
	until(t, v, "a b")
	select {
	case <-turned:
	case <-time.After(within):
		t.Errorf("state %+v, want it fresh", v.State())
	}
}

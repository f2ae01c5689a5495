package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// fill puts some keys: text, bytes, a terminal escape, and one on a lease.
func (s *shell) fill(prefix string) {
	s.t.Helper()
	lease, err := s.cli.Grant(s.t.Context(), 600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _, _ = s.cli.Revoke(context.WithoutCancel(s.t.Context()), lease.ID) })
	for key, value := range map[string]string{"a": "<1>\n", "b\xff": "\x00\xff", "c": "\x1b[31m", "d": "on a lease"} {
		var opts []clientv3.OpOption
		if key == "d" {
			opts = append(opts, clientv3.WithLease(lease.ID))
		}
		if _, err := s.cli.Put(s.t.Context(), prefix+key, value, opts...); err != nil {
			s.t.Fatal(err)
		}
	}
}

// scrubTransfer replaces revisions and times, which differ from run to run.
func (s *shell) scrubTransfer() {
	s.scrub(`revision":\d+`, `revision":N`)
	s.scrub(`_revision":\d+`, `_revision":N`)
	s.scrub(`revision \d+`, "revision N")
	s.scrub(`remaining_seconds":\d+`, `remaining_seconds":N`)
	s.scrub(`cluster_id":"[0-9a-f]+`, `cluster_id":"HEX`)
	s.scrub(`"lease":"[0-9a-f]{2,}"`, `"lease":"HEX"`)
	s.scrub(`"key":\{"base64":"[^"]*"`, `"key":{"base64":"PREFIX…"`) // the prefix differs from test to test
}

func TestExportAndImport(t *testing.T) {
	s := newShell(t)
	s.scrubTransfer()
	dir := t.TempDir()
	s.scrub(dir, "DIR")
	file, broken, another := filepath.Join(dir, "app.jsonl"), filepath.Join(dir, "broken.jsonl"), filepath.Join(dir, "other.jsonl")
	app := s.prefix + "app/"
	s.fill(app)
	s.golden("export",
		[]string{"export", app},
		[]string{"export", app, "--file", file},
		[]string{"export", app, "--file", file},
		[]string{"export", app, "--file", file, "--yes"},
		[]string{"export", s.prefix + "none/"},
		[]string{"export"},
		[]string{"export", app, "--rev", "-1"},
		[]string{"export", app, "--rev", "999999999"},
		[]string{"export", app, "--file", filepath.Join(dir, "no", "file")},
		[]string{"export", app, "--file", "/dev/null"},
		[]string{"export", "--help"},
	)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(broken, string(whole[:strings.LastIndex(string(whole), `"lease":`)]))
	write(another, strings.Replace(string(whole), "<1>", "2", 1))
	if _, err := s.cli.Delete(t.Context(), app+"c"); err != nil {
		t.Fatal(err)
	}
	s.golden("import",
		[]string{"import", file, "--dry-run"},
		[]string{"import", file},
		[]string{"import", file},
		[]string{"import", file, "-o", "json"},
		[]string{"import", another},
		[]string{"import", another, "--overwrite"},
		[]string{"import", another, "--overwrite", "--yes"},
		[]string{"import", another, "--prefix-from", app, "--prefix-to", s.prefix + "new/", "--leases", "drop"},
		[]string{"import", another, "--prefix-from", "other/"},
		[]string{"import", broken},
		[]string{"import", filepath.Join(dir, "none.jsonl")},
		[]string{"import", dir},
		[]string{"import", file, "--leases", "keep"},
		[]string{"import", "--overwrite"},
		[]string{"import", "--help"},
	)
	s.stdin = `{"key":"` + s.prefix + `x","value":"1"}` + "\n{}\n"
	s.golden("import-stdin",
		[]string{"import"},
		[]string{"import", "-", "--overwrite", "--yes", "--dry-run"},
	)
}

func TestCopy(t *testing.T) {
	s := newShell(t)
	s.scrubTransfer()
	other := etcdtest.Client(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1}))
	to := other.Endpoints()[0]
	s.scrub(strings.ReplaceAll(to, ".", `\.`), "OTHER:PORT")
	app := s.prefix + "app/"
	s.fill(app)
	if _, err := other.Put(t.Context(), "standby/a", "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Put(t.Context(), "standby/z", "only there"); err != nil {
		t.Fatal(err)
	}
	s.golden("copy",
		[]string{"copy", app, s.prefix + "backup/"},
		[]string{"copy", app, s.prefix + "backup/", "-o", "json"},
		[]string{"copy", app, "standby/", "--to", to, "--dry-run", "--delete"},
		[]string{"copy", app, "standby/", "--to", to, "--delete"},
		[]string{"copy", app, "standby/", "--to", to, "--delete", "--yes"},
		[]string{"copy", app, app + "below/"},
		[]string{"copy", app},
		[]string{"copy", app, "x/", "--to-user", "root"},
		[]string{"copy", app, "x/", "--to", to, "--to-context", "x"},
		[]string{"copy", app, "x/", "--to-context", "nowhere"},
		[]string{"copy", app, "x/", "--to", "127.0.0.1:1"},
		[]string{"copy", app, "x/", "--to", to, "--to-user", "root:secret"},
		[]string{"copy", app, "x/", "--follow", "--dry-run"},
		[]string{"copy", "--help"},
	)
	resp, err := other.Get(t.Context(), "standby/", clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 4 || string(resp.Kvs[1].Key) != "standby/b\xff" || resp.Kvs[3].Lease == 0 {
		t.Errorf("got %v, %v, want the four keys of the source", resp, err)
	}
}

func TestACopyThatFollowsEndsWithASignal(t *testing.T) {
	s := newShell(t)
	s.fill(s.prefix + "app/")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	said := make(chan int)
	var stderr strings.Builder
	go func() { // ends with interrupt
		said <- Run(ctx, []string{"copy", s.prefix + "app/", s.prefix + "copy/", "--follow"}, strings.NewReader(""), new(strings.Builder), &stderr)
	}()
	watch, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	put := false
	for answer := range s.cli.Watch(watch, s.prefix+"copy/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		for _, event := range answer.Events {
			if string(event.Kv.Key) == s.prefix+"copy/later" {
				interrupt()
				cancel()
			}
		}
		if !put && len(answer.Events) > 0 { // it has read the source: what comes now, it follows
			put = true
			if _, err := s.cli.Put(t.Context(), s.prefix+"app/later", "1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code := <-said; code != ExitInterrupted || !strings.Contains(stderr.String(), "following from revision") || !strings.Contains(stderr.String(), "started again, the copy goes on") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	if resp, err := s.cli.Get(t.Context(), s.prefix+"copy/", clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 5 {
		t.Errorf("got %v, %v, want 5 keys", resp, err)
	}
}

func TestSnapshots(t *testing.T) {
	s := newShell(t)
	s.scrubTransfer()
	dir := t.TempDir()
	s.scrub(dir, "DIR")
	s.scrub(`\d+ keys?`, "N keys")
	s.scrub(`\d+(\.\d)? [KM]iB`, "N MiB")
	s.scrub(`(?m)^ *\d+ +\d+ +N MiB +[0-9a-f]+ +(3\.7\.0)? +ok`, "N N N MiB HASH VERSION ok")
	s.scrub(` *REVISION +KEYS +SIZE +HASH +VERSION +SHA-256`, "REVISION KEYS SIZE HASH VERSION SHA-256")
	s.fill(s.prefix)
	file, text := filepath.Join(dir, "backup.db"), filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "restored")
	s.golden("snapshot",
		[]string{"snapshot", "save", file},
		[]string{"snapshot", "save", file},
		[]string{"snapshot", "save", file, "--yes"},
		[]string{"snapshot", "status", file},
		[]string{"snapshot", "status", text},
		[]string{"snapshot", "status", filepath.Join(dir, "none")},
		[]string{"snapshot", "restore", file, "--data-dir", data},
		[]string{"snapshot", "restore", file, "--data-dir", data},
		[]string{"snapshot", "restore", file},
		[]string{"snapshot", "restore", file, "--data-dir", data + "2", "--bump-revision", "1000"},
		[]string{"snapshot", "restore", file, "--data-dir", data + "2", "--name", "m1", "--initial-cluster", "m2=http://h:2380"},
		[]string{"snapshot", "restore", file, "--data-dir", data + "2", "--name", "m1", "--initial-cluster", "m1=http://h1:2380,m2=http://h2:2380", "--initial-advertise-peer-urls", "http://h1:2380", "--bump-revision", "1000", "--mark-compacted"},
		[]string{"snapshot", "restore", text, "--data-dir", data + "3"},
		[]string{"snapshot", "save", filepath.Join(dir, "no", "file")},
		[]string{"snapshot", "save"},
		[]string{"snapshot", "stauts", file},
		[]string{"snapshot", "--help"},
		[]string{"snapshot", "save", "--help"},
		[]string{"snapshot", "restore", "--help"},
		[]string{"snapshot", "status", "--help"},
	)
	stdout, _, _ := s.run("snapshot", "status", file, "-o", "json")
	var status struct {
		Revision int64
		Checksum string
	}
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || status.Revision == 0 || status.Checksum != "ok" {
		t.Errorf("-o json: got %s, %v", stdout, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 4 {
		t.Errorf("got %v, %v, want the snapshot, the text and two directories", left, err)
	}
}

// Ctrl-C leaves no part of a file.
func TestAnInterruptedExportOrSnapshotLeavesNoFile(t *testing.T) {
	newShell(t) // names the cluster
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"export", "", "--file", filepath.Join(dir, "a")}, {"snapshot", "save", filepath.Join(dir, "b")}} {
		if code := Run(ctx, args, strings.NewReader(""), new(strings.Builder), new(strings.Builder)); code != ExitInterrupted {
			t.Errorf("%v: exit code %d, want %d", args, code, ExitInterrupted)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestCountsAreToldForPeople(t *testing.T) {
	for want, c := range map[string]keys.Counts{
		"nothing to do":          {},
		"1 created, 2 the same":  {Created: 1, Same: 2},
		"1 updated; 1 new lease": {Updated: 1, Leases: 1},
	} {
		if got := countsText(c); got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
}

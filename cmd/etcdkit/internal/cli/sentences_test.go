package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/lock"
)

// A sentence is found by the text of a message: one that a library words differently would be said as attributes.
func TestEachSentenceIsForAMessageOfALibrary(t *testing.T) {
	var sources strings.Builder
	for _, folder := range []string{"lock", "election", "registry", "internal/queue"} {
		files, err := filepath.Glob("../../../../" + folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(b)
		}
	}
	has := func(text string) bool { return strings.Contains(sources.String(), `"`+text+`"`) }
	for message := range sentences() {
		first, _, _ := strings.Cut(message, ", and ") // internal/queue puts the two together
		if !has(message) && !(has(first) && has(strings.TrimPrefix(message, first))) {
			t.Errorf("no library logs %q", message)
		}
	}
}

func TestWhatALibraryLogsIsSaidInSentences(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{out: out.New(io.Discard, &stderr)}
	l := a.logger()
	for _, tc := range []struct {
		message string
		attrs   []any
		want    string
	}{
		{"waiting for lock", []any{"name", "jobs/a", "holder", "etcdkit", "host", "vm", "pid", 88, "since", "2026-01-02T20:23:23Z", "key", "k", "token", int64(7), "waited", "1.5s", "entries", 2},
			`waiting 1.5s for lock "jobs/a": held by etcdkit (pid 88 on host vm) since 2026-01-02T20:23:23Z; 2 in the queue, with the holder`},
		{"waiting to lead", []any{"name", "jobs", "leader", "10.0.0.1:80", "key", "k", "token", int64(7), "waited", "1.5s", "entries", 3},
			`waiting 1.5s to lead "jobs": 10.0.0.1:80 leads; 3 in the queue, with the holder`},
		{"elected", []any{"name", "jobs", "key", "k", "token", int64(9)}, `elected in "jobs" (token 9)`},
		{"lock lost", []any{"name", "jobs"}, ""},
		{"status changed by checks", []any{"key", "/services/web/a", "from", "passing", "to", "critical", "because", "tcp: refused\netcdkit: \x1b[2Jfine"},
			`/services/web/a is critical now, after passing: tcp: refused etcdkit: \x1b[2Jfine`},
		{"registration lost", []any{"key", "/services/web/a", "more", 2, "because", "its lease has ended"}, "/services/web/a and 2 more lost: its lease has ended; registering again"},
		{"something new", []any{"key", "k", "n", 3}, "something new: key k, n 3"},
	} {
		stderr.Reset()
		l.Info(tc.message, tc.attrs...)
		want := tc.want
		if want != "" {
			want = "etcdkit: " + want + "\n"
		}
		if stderr.String() != want {
			t.Errorf("%s: got %q, want %q", tc.message, stderr.String(), want)
		}
	}
}

// The messages of package lock are those that have sentences.
func TestAWaitForALockIsSaidInSentences(t *testing.T) {
	s := newShell(t)
	name := s.prefix + "jobs"
	m := lock.New(s.cli, name, nil)
	defer m.Close()
	h, err := m.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan error, 1)
	talk := &counted{left: 1, enough: sync.OnceFunc(func() { released <- h.Release(t.Context()) })} // when it says that it waits
	var stdout bytes.Buffer
	code := Run(t.Context(), []string{"lock", "acquire", name}, strings.NewReader(""), &stdout, talk)
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^etcdkit: waiting 1\.\ds for lock "` + name + `": held by cli\.test \(pid \d+ on host \S+\) since \S+Z; 2 in the queue, with the holder
etcdkit: lock "` + name + `" acquired after [\d.]+s
`)
	if got := talk.text.String(); code != 0 || !want.MatchString(got) {
		t.Errorf("exit code %d, %q; want %v", code, got, want)
	}
	if _, _, code := s.run("lock", "release", strings.TrimSpace(stdout.String())); code != 0 {
		t.Errorf("release: exit code %d", code)
	}
}

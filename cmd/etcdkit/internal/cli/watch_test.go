package cli

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// putAt writes a key below the prefix and returns the revision.
func (s *shell) putAt(key, value string) int64 {
	s.t.Helper()
	resp, err := s.cli.Put(s.t.Context(), s.prefix+key, value)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

// until runs a command until its stdout has a number of lines, and then ends it as Ctrl-C does.
func (s *shell) until(lines int, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	out := &counted{left: lines, enough: cancel}
	var errs bytes.Buffer
	code = Run(ctx, args, strings.NewReader(s.stdin), out, &errs)
	return out.text.String(), errs.String(), code
}

// counted calls enough at the end of a line.
type counted struct {
	mu     sync.Mutex // guards what follows
	text   strings.Builder
	left   int
	enough func()
}

func (c *counted) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left -= bytes.Count(b, []byte("\n"))
	if c.left <= 0 {
		c.enough()
	}
	return c.text.Write(b)
}

func TestWatchSaysWhatItIsFor(t *testing.T) {
	s := newShell(t)
	s.golden("watch-usage",
		[]string{"watch", "--help"},
		[]string{"watch"},
		[]string{"watch", "a", "--"},
		[]string{"watch", "b", "a"},
		[]string{"watch", "a", "b", "c"},
		[]string{"watch", "a", "b", "--prefix"},
		[]string{"watch", ""},
		[]string{"watch", "a", "--rev", "-1"},
		[]string{"watch", "a", "--initial", "maybe"},
		[]string{"watch", "a", "--rev", "1", "--initial", "run"},
		[]string{"watch", "a", "--debounce", "1s"},
		[]string{"watch", "a", "--debounce", "2s:1s", "--", "true"},
		[]string{"watch", "a", "--on-change", "none", "--", "true"},
		[]string{"watch", "a", "--on-change", "signal=NONE", "--", "true"},
		[]string{"watch", "a", "--on-change", "restart", "--once", "--", "true"},
		[]string{"watch", "a", "-o", "json", "--", "true"},
		[]string{"watch", "a", "--", "no-such-program"},
		[]string{"watch", "a", "--", "/dev/null"},
	)
}

func TestWatchRunsACommandOnce(t *testing.T) {
	s := newShell(t)
	rev := s.putAt("a", "1")
	s.putAt("b", "two\nlines \033[2J")
	since := strconv.FormatInt(rev, 10)
	s.scrub(`--rev \d+`, "--rev N")
	s.scrub(`(revision|REVISION)("?[:= ]+)\d+`, "${1}${2}N")
	s.golden("watch-once",
		[]string{"watch", s.prefix, "--prefix", "--initial", "run", "--once", "--", "cat"},
		[]string{"watch", s.prefix, "--prefix", "--rev", since, "--once", "--debounce", "500ms", "--", "sh", "-c", "cat; env | grep ETCD_WATCH | sort"},
		[]string{"watch", s.prefix + "a", "--rev", since, "--once", "--", "sh", "-c", "exit 3"},
		[]string{"watch", s.prefix + "none", "--initial", "run", "--once", "--", "cat"},
	)
}

func TestWatchPrintsEachChange(t *testing.T) {
	s := newShell(t)
	rev := s.putAt("a", "1")
	s.putAt("b", "two\nlines \033[2J\\")
	s.putAt("a", "")
	if _, err := s.cli.Delete(t.Context(), s.prefix+"a"); err != nil {
		t.Fatal(err)
	}
	at := func(n int64) string { return strconv.FormatInt(rev+n, 10) }
	for _, tc := range []struct {
		lines int
		args  []string
		want  string
	}{
		{4, []string{"--prefix"}, at(0) + "  put     Pa = 1\n" + at(1) + `  put     Pb = two\nlines \x1b[2J\\` + "\n" + at(2) + "  put     Pa = \n" + at(3) + "  delete  Pa\n"},
		{2, []string{"--prefix", "--prev-kv", "--rev", at(2)}, at(2) + "  put     Pa =   (was 1)\n" + at(3) + "  delete  Pa  (was )\n"},
		{2, []string{"--prefix", "-o", "jsonl", "--rev", at(2)},
			`{"type":"put","key":"Pa","value":"","prev_value":null,"revision":` + at(2) + `,"create_revision":` + at(0) + `,"version":2,"lease":"0","synthesised":false}` + "\n" +
				`{"type":"delete","key":"Pa","value":null,"prev_value":null,"revision":` + at(3) + `,"create_revision":0,"version":0,"lease":"0","synthesised":false}` + "\n"},
		{4, []string{"--prefix", "-o", "value"}, "1\ntwo\nlines \033[2J\\\n\n"},
		{1, []string{"--prefix", "-o", "template={{.type}} {{.revision}}", "--rev", at(3)}, "delete " + at(3) + "\n"},
		{1, []string{"--prefix", "--initial", "run"}, at(1) + `  put     Pb = two\nlines \x1b[2J\\` + "\n"},
	} {
		args := append([]string{"watch", s.prefix}, tc.args...)
		if joined := strings.Join(args, " "); !strings.Contains(joined, "--rev") && !strings.Contains(joined, "--initial") {
			args = append(args, "--rev", at(0))
		}
		stdout, stderr, code := s.until(tc.lines, args...)
		if want := strings.ReplaceAll(tc.want, "P", s.prefix); stdout != want || stderr != "" || code != ExitInterrupted {
			t.Errorf("%v: got\n%s%swith %d, want\n%s", args, stdout, stderr, code, want)
		}
	}
}

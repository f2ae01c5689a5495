package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// grant makes a lease that lasts as long as the test.
func (s *shell) grant(seconds int64) string {
	s.t.Helper()
	granted, err := s.cli.Grant(s.t.Context(), seconds)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.cli.Revoke(context.WithoutCancel(s.t.Context()), granted.ID) })
	return fmt.Sprintf("%x", granted.ID)
}

// rise makes the server's revision one that no other number in a golden file is like.
func (s *shell) rise() {
	s.t.Helper()
	for s.put("rise", "") < 700 {
	}
	if _, err := s.cli.Delete(s.t.Context(), s.prefix+"rise"); err != nil {
		s.t.Fatal(err)
	}
}

// put writes a key below the test's prefix.
func (s *shell) put(key, value string, opts ...clientv3.OpOption) (revision int64) {
	s.t.Helper()
	resp, err := s.cli.Put(s.t.Context(), s.prefix+key, value, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

// scrubRevisions replaces the revisions from one on by R1, R2, …: the tests of a binary share their server.
func (s *shell) scrubRevisions(first int64, n int) {
	s.scrub(fmt.Sprintf(`\b%d\b`, first-1), "R0")
	for i := range n {
		s.scrub(fmt.Sprintf(`\b%d\b`, first+int64(i)), fmt.Sprintf("R%d", i+1))
	}
}

// on runs the commands of a golden file below the test's prefix, which is P in their words.
func (s *shell) on(lines ...[]string) (commands [][]string) {
	for _, words := range lines {
		args := make([]string, len(words))
		for i, word := range words {
			args[i] = word
			if rest, ok := strings.CutPrefix(word, "P/"); ok {
				args[i] = s.prefix + rest
			}
		}
		commands = append(commands, args)
	}
	return commands
}

func TestGet(t *testing.T) {
	s := newShell(t)
	s.rise()
	lease := s.grant(600)
	first := s.put("motd", "hello\n\x1b[31mred\\")
	s.put("a/bin", "\xff\x00")
	s.put("empty", "")
	var id clientv3.LeaseID
	fmt.Sscanf(lease, "%x", &id)
	s.put("leased", "x", clientv3.WithLease(id))
	s.put("motd", "hello\n\x1b[31mred\\")
	s.put("한글/값", "안녕")
	s.scrub(regexp.QuoteMeta(hexText([]byte(s.prefix))), `PREFIX\x2f`)
	s.scrub(`\b(5[89]\d|600)(s?)\b`, "600$2")
	s.scrubRevisions(first, 6)
	s.golden("get", s.on(
		[]string{"get", "P/a/bin", "--hex"},
		[]string{"get", "P/empty"},
		[]string{"get", "P/motd", "-l"},
		[]string{"get", "P/motd", "-o", "json"},
		[]string{"get", "P/a/bin", "-o", "jsonl"},
		[]string{"get", "P/leased", "-l", "-o", "json"},
		[]string{"get", "P/motd", "-o", "template={{.key}} is {{.version}} old"},
		[]string{"get", "P/motd", "--rev", fmt.Sprint(first), "-o", "json"},
		[]string{"get", "P/motd", "--keys-only", "-o", "json"},
		[]string{"get", "P/none"},
		[]string{"get", "P/한글"},
		[]string{"get", "P/motd", "--rev", fmt.Sprint(first - 1)},
		[]string{"get", "--prefix", "P/"},
		[]string{"get", "--prefix", "P/", "-l"},
		[]string{"get", "--prefix", "P/", "--hex"},
		[]string{"get", "--prefix", "P/", "-o", "json"},
		[]string{"get", "--prefix", "P/l", "-o", "value"},
		[]string{"get", "P/l", "P/m", "--print-value-only"},
		[]string{"get", "--prefix", "P/", "--keys-only"},
		[]string{"get", "--prefix", "P/", "--keys-only", "-l", "-o", "table"},
		[]string{"get", "--prefix", "P/", "--count-only"},
		[]string{"get", "--prefix", "P/", "--count-only", "-o", "json"},
		[]string{"get", "--prefix", "P/", "--count-only", "--min-mod-rev", fmt.Sprint(first + 4)},
		[]string{"get", "--prefix", "P/", "--keys-only", "--sort-by", "modify", "--order", "descend"},
		[]string{"get", "--prefix", "P/", "--keys-only", "--consistency", "s", "--limit", "2"},
		[]string{"get", "P/e", "P/m", "--keys-only"},
		[]string{"get", "--prefix", "P/none", "-o", "json"},
		[]string{"get", "--prefix", "P/none"},
	)...)
}

func TestBadUsesOfGet(t *testing.T) {
	s := newShell(t)
	s.golden("getbad", s.on(
		[]string{"get"},
		[]string{"get", ""},
		[]string{"get", "b", "a"},
		[]string{"get", "a", "b", "--prefix"},
		[]string{"get", "a", "--prefix", "--from-key"},
		[]string{"get", "a", "--keys-only", "--count-only"},
		[]string{"get", "a", "--print-value-only", "-o", "json"},
		[]string{"get", "a", "--limit", "-1"},
		[]string{"get", "a", "--limit", "x"},
		[]string{"get", "a", "--order", "up"},
		[]string{"get", "a", "--sort-by", "age"},
		[]string{"get", "a", "--consistency", "q"},
		[]string{"get", "a", "--min-mod-rev", "5", "--max-mod-rev", "4"},
		[]string{"get", "a", "-o", "yaml"},
		[]string{"get", "a", "--prefx"},
		[]string{"get", "P/a", "--rev", "99999999"},
		[]string{"get", "a", "--endpoints", "http://x y"},
	)...)
}

func TestPut(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "value")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.scrub(dir, "DIR")
	s.stdin = "from stdin\n"
	s.rise()
	lease := s.grant(600)
	first := s.put("before", "") + 1
	s.scrubRevisions(first-1, 20)
	s.golden("put", s.on(
		[]string{"put", "P/a", "1"},
		[]string{"put", "P/a", "2", "--prev-kv"},
		[]string{"put", "P/a", "3", "--prev-kv", "-o", "json"},
		[]string{"put", "P/new", "", "--prev-kv", "-o", "json"},
		[]string{"put", "P/a", "-"},
		[]string{"get", "P/a"},
		[]string{"put", "P/a", "@" + file},
		[]string{"get", "P/a"},
		[]string{"put", "P/a", "--", "-5"},
		[]string{"put", "P/b", "--", "@home", "-o", "value"},
		[]string{"put", "-o", "value", "P/b", "--", "@home"},
		[]string{"get", "P/b"},
		[]string{"put", "P/a", "x", "--cas", fmt.Sprint(first)},
		[]string{"put", "P/a", "x", "--cas", "0"},
		[]string{"put", "P/a", "x", "--cas", fmt.Sprint(first + 6)},
		[]string{"put", "P/c", "x", "--cas", fmt.Sprint(first)},
		[]string{"put", "P/c", "x", "--cas", "0", "-o", "json"},
		[]string{"put", "P/c", "y", "--lease", lease},
		[]string{"put", "P/c", "z", "--ignore-lease"},
		[]string{"get", "P/c", "-o", "template={{.value}} {{.lease}}"},
		[]string{"put", "P/c", "--ignore-value"},
		[]string{"get", "P/c", "-o", "template={{.value}} {{.lease}}"},
		[]string{"put", "P/none", "--ignore-value"},
		[]string{"put", "P/c", "x", "--lease", "123"},
		[]string{"put", "P/big", "@" + big},
		[]string{"put"},
		[]string{"put", "P/a"},
		[]string{"put", "", "x"},
		[]string{"put", "P/a", "-5"},
		[]string{"put", "P/a", "--five"},
		[]string{"put", "P/a", "@" + dir + "/none"},
		[]string{"put", "P/a", "x", "--cas", "now"},
		[]string{"put", "P/a", "x", "--lease", "soon"},
		[]string{"put", "P/a", "x", "--ignore-value"},
		[]string{"put", "P/a", "x", "--lease", "12", "--ignore-lease"},
		[]string{"put", "P/a", "-", "--password-file", "-", "--user", "u"},
		[]string{"put", "P/a", "x", "y"},
	)...)
}

func TestDel(t *testing.T) {
	s := newShell(t)
	s.rise()
	first := s.put("a", "1")
	for i := range 5 {
		s.put(fmt.Sprintf("jobs/%d", i), fmt.Sprint("job ", i))
	}
	s.put("jobs2", "")
	s.put("z", "")
	s.scrubRevisions(first, 20)
	s.golden("del", s.on(
		[]string{"del", "P/a", "--prev-kv"},
		[]string{"del", "P/a"},
		[]string{"del", "P/jobs"},
		[]string{"del", "--prefix", "P/jobs/"},
		[]string{"del", "P/jobs/0", "P/jobs/2"},
		[]string{"del", "--range", "P/jobs/0", "P/jobs/2"},
		[]string{"del", "--range", "P/jobs/0", "P/jobs/2", "--yes", "--prev-kv", "-o", "json"},
		[]string{"del", "--prefix", "P/jobs/", "--yes"},
		[]string{"del", "--prefix", "P/jobs/", "--yes", "-o", "value"},
		[]string{"ls", "P/"},
		[]string{"del", "--from-key", "P/z"},
		[]string{"del"},
		[]string{"del", ""},
		[]string{"del", "--prefix", "", "--yes"},
		[]string{"del", "--from-key", "", "--yes"},
		[]string{"del", "--prefix", "a", "--from-key"},
		[]string{"del", "--prefix", "a", "b"},
		[]string{"del", "--range", "a"},
		[]string{"del", "--range", "b", "a"},
		[]string{"del", "--range", "", "a"},
		[]string{"del", "--all", "a"},
		[]string{"get", "P/z", "-o", "json"},
	)...)
}

func TestLs(t *testing.T) {
	s := newShell(t)
	s.rise()
	lease := s.grant(600)
	var id clientv3.LeaseID
	fmt.Sscanf(lease, "%x", &id)
	first := s.put("web", "x")
	s.put("web-2", "\x1b]0;title\a")
	s.put("web/1", "", clientv3.WithLease(id))
	s.put("web/2/x", "y")
	s.put("db/1", "")
	s.put("bad\x1b[2J", "")
	s.put("", "the folder itself")
	s.scrubRevisions(first, 10)
	s.scrub(`\b(5[89]\d|600)(s?)\b`, "600$2")
	s.golden("ls", s.on(
		[]string{"ls", "P/"},
		[]string{"ls", "P/", "-l"},
		[]string{"ls", "P/", "-o", "jsonl"},
		[]string{"ls", "P/", "-o", "json", "--limit", "2"},
		[]string{"ls", "P/web"},
		[]string{"ls", "P/web", "-l", "-o", "jsonl"},
		[]string{"ls", "P/web-2", "-l"},
		[]string{"ls", "P/web", "-o", "value"},
		[]string{"ls", "P/web/", "-l", "-o", "template={{.path}} {{.exists}} {{.size}} {{.lease_remaining_seconds}}"},
		[]string{"ls", "P/", "--separator", "-"},
		[]string{"ls", "P/web", "--rev", fmt.Sprint(first + 2)},
		[]string{"ls", "P/none"},
		[]string{"ls", "P/none", "-o", "json"},
		[]string{"ls", "P/", "--separator", ""},
		[]string{"ls", "P/", "--limit", "-1"},
		[]string{"ls", "a", "b"},
		[]string{"tree", "P/"},
		[]string{"tree", "P/web", "--values"},
		[]string{"tree", "P/", "--depth", "1"},
		[]string{"tree", "P/", "--limit", "2"},
		[]string{"tree", "P/web", "-o", "jsonl"},
		[]string{"tree", "P/web", "-o", "value"},
		[]string{"tree", "P/none"},
		[]string{"tree", "P/", "--depth", "-1"},
	)...)
}

func TestHistory(t *testing.T) {
	s := newShell(t)
	s.rise()
	lease := s.grant(600)
	var id clientv3.LeaseID
	fmt.Sscanf(lease, "%x", &id)
	first := s.put("k", "one")
	s.put("k", "two\n", clientv3.WithLease(id))
	if _, err := s.cli.Delete(t.Context(), s.prefix+"k"); err != nil {
		t.Fatal(err)
	}
	s.scrubRevisions(first, 10)
	s.golden("history", s.on(
		[]string{"history", "P/k"},
		[]string{"undelete", "P/k"},
		[]string{"get", "P/k", "-o", "json"},
		[]string{"undelete", "P/k"},
		[]string{"history", "P/k"},
		[]string{"history", "P/k", "--limit", "2", "-o", "jsonl"},
		[]string{"history", "P/k", "--to", fmt.Sprint(first + 1), "-o", "json"},
		[]string{"history", "P/k", "--from", fmt.Sprint(first + 2), "-o", "value"},
		[]string{"del", "P/k"},
		[]string{"undelete", "P/k", "--rev", fmt.Sprint(first), "-o", "json"},
		[]string{"undelete", "P/none"},
		[]string{"undelete", "P/k2", "--rev", fmt.Sprint(first)},
		[]string{"history", "P/none"},
		[]string{"history"},
		[]string{"history", "P/k", "--limit", "0"},
		[]string{"history", "P/k", "--from", "3", "--to", "2"},
		[]string{"undelete", "P/k", "--rev", "-1"},
		[]string{"undelete", ""},
	)...)
}

func TestAValueIsPrintedToTheByte(t *testing.T) {
	s := newShell(t)
	for _, value := range []string{"", "x", "x\n", "\xff\x00\x1b[31m\r\n\\", strings.Repeat("long", 100_000)} {
		s.put("k", value)
		stdout, stderr, code := s.run("get", s.prefix+"k")
		if stdout != value || stderr != "" || code != 0 {
			t.Errorf("get of %.20q: got %.40q, %q, exit code %d", value, stdout, stderr, code)
		}
		s.stdin = value
		if _, stderr, code := s.run("put", s.prefix+"copy", "-"); code != 0 {
			t.Fatalf("put of %.20q: %s", value, stderr)
		}
		if stdout, _, _ := s.run("get", s.prefix+"copy"); stdout != value {
			t.Errorf("put of %.20q from stdin: got %.40q back", value, stdout)
		}
	}
}

func TestNamesOfKeysAreCompletedLevelByLevel(t *testing.T) {
	s := newShell(t)
	for _, key := range []string{"web", "web/1", "web/2/x", "weather", "bad`id`"} {
		s.put(key, "")
	}
	for typed, want := range map[string]string{
		"we": "weather web web/", "web/": "web/1 web/2/", "": "weather web web/", "none": "",
	} {
		stdout, _, _ := s.run("__complete", "get", s.prefix+typed)
		names := strings.Fields(strings.ReplaceAll(stdout, s.prefix, ""))
		if got := strings.Join(names[:len(names)-1], " "); got != want {
			t.Errorf("get %s: got %q, want %q", typed, got, want)
		}
	}
}

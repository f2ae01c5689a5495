package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// A mistake on the command line is refused with what was probably meant.
func TestAMistakeIsToldWithWhatWasProbablyMeant(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		want string // the first line of stderr ends in it
	}{
		{"svc regster x --addr h:1", 2, `unknown command "regster" for "etcdkit svc"; did you mean register?`},
		{"svc nothing x --addr h:1", 2, `unknown command "nothing" for "etcdkit svc"`},
		{"lock acqiure x --foo", 125, `unknown command "acqiure" for "etcdkit lock"; did you mean acquire?`},
		{"lock acqiure --foo -- true", 125, `unknown flag: --foo`},
		{"elcet x --ttl 5s -- true", 2, `unknown command "elcet" for "etcdkit"; did you mean elect?`},
		{"delete a", 2, `unknown command "delete" for "etcdkit"; did you mean del?`},
		{"cat a", 2, `unknown command "cat" for "etcdkit"; did you mean get?`},
		{"set a b", 2, `unknown command "set" for "etcdkit"; did you mean put?`},
		{"svc register web --port 80 -m x", 125, `unknown shorthand flag: 'm' in -m`},
		{"lock jobs -x -- true", 125, `unknown shorthand flag: 'x' in -x`},
		{"lock ls -- echo hi", 125, `"ls" is a command of etcdkit lock, and runs no command; if it is a name: etcdkit lock run ls -- echo hi`},
		{"elect get -- echo", 125, `"get" is a command of etcdkit elect, and runs no command; if it is a name: etcdkit elect run get -- echo`},
		{"help nosuch", 2, `etcdkit has no command "nosuch"`},
		{"help svc regster", 2, `etcdkit svc has no command "regster"; did you mean register?`},
		{"watch a --debounce x", 2, `--debounce "x": want MIN[:MAX], such as 1s or 1s:5s`},
		{"svc maint web node1 maybe --endpoints 127.0.0.1:1", 2, `"maybe": want on or off`},
		{"svc drain web node1 off --reason disk --endpoints 127.0.0.1:1", 2, "--reason is for on"},
		{"svc register web --port 80 --check-tcp --check-interval 0s", 125, "--check-interval 0s: want 10ms or more"},
	} {
		stdout, stderr, code := run(t, strings.Fields(tc.args)...)
		first, _, _ := strings.Cut(stderr, "\n")
		if code != tc.code || stdout != "" || first != "etcdkit: "+tc.want {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d and %q", tc.args, code, stdout, stderr, tc.code, tc.want)
		}
	}
}

func TestHelpOfACommandIsAsItsFlagSaysIt(t *testing.T) {
	byVerb, _, code := run(t, "help", "svc", "register")
	byFlag, _, _ := run(t, "svc", "register", "--help")
	if code != 0 || byVerb != byFlag || byVerb == "" {
		t.Errorf("exit code %d, help says %q, --help %q", code, byVerb, byFlag)
	}
}

// The value of a key is printed to the byte; a name, an id, a number and hexadecimal text are lines.
func TestOnlyAValueOfAKeyHasNoNewline(t *testing.T) {
	s := newShell(t)
	s.putAt("a", "x")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"get", s.prefix + "a"}, "x"},
		{[]string{"get", s.prefix + "a", "--keys-only"}, s.prefix + "a\n"},
		{[]string{"get", s.prefix + "a", "--hex"}, `\x78` + "\n"},
		{[]string{"get", s.prefix, "--prefix", "--count-only", "-o", "value"}, "1\n"},
		{[]string{"del", s.prefix + "a", "-o", "value"}, "1\n"},
		{[]string{"undelete", s.prefix + "a", "-o", "value"}, "x"},
		{[]string{"status", "-o", "value"}, "ok\n"},
	} {
		if stdout, stderr, code := s.run(tc.args...); stdout != tc.want || code != 0 {
			t.Errorf("%v: got %q, exit code %d, stderr %q, want %q", tc.args, stdout, code, stderr, tc.want)
		}
	}
	for _, args := range [][]string{{"put", s.prefix + "b", "2", "-o", "value"}, {"lease", "grant", "60", "-o", "value"}} {
		if stdout, stderr, _ := s.run(args...); !strings.HasSuffix(stdout, "\n") {
			t.Errorf("%v: got %q and %q, want a line", args, stdout, stderr)
		}
	}
}

func TestTheContextOfADevClusterIsItsOwn(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	runs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Close()
	remove, err := place.WriteDevContext([]string{runs.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	name := fmt.Sprint("dev-", runs.Addr().(*net.TCPAddr).Port)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"ctx", "rm", name}, fmt.Sprintf("context %q is of an etcdkit dev that runs", name)},
		{[]string{"ctx", "add", name, "--force", "--endpoints", "h:1"}, "are the names of clusters of etcdkit dev"},
		{[]string{"ctx", "add", "dev", "--endpoints", "h:1"}, "are the names of clusters of etcdkit dev"},
		{[]string{"ctx", "add", "mine", "--endpoints", "h:1", "--context", name}, "--context: a context does not have it"},
	} {
		if _, stderr, code := run(t, tc.args...); code != 2 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", tc.args, code, stderr, tc.want)
		}
	}
	for _, args := range [][]string{{"ctx", "add", "dev-team", "--endpoints", "h:1"}, {"ctx", "add", "developers", "--endpoints", "h:1"}} {
		if _, stderr, code := run(t, args...); code != 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
	runs.Close()
	if _, stderr, code := run(t, "ctx", "rm", name); code != 0 {
		t.Errorf("the context of a dev cluster that was killed: exit code %d, %q", code, stderr)
	}
	if names, _, _ := run(t, "ctx", "ls", "-o", "value"); slices.Contains(strings.Fields(names), name) {
		t.Errorf("%s is still there", name)
	}
}

func TestWatchSaysThatItsRevisionIsToCome(t *testing.T) {
	s := newShell(t)
	now := s.putAt("a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	talk := &counted{left: 1, enough: cancel}
	code := Run(ctx, []string{"watch", s.prefix + "a", "--rev", fmt.Sprint(now + 100)}, strings.NewReader(""), io.Discard, talk)
	want := fmt.Sprintf("etcdkit: waiting for revision %d; etcd is at revision %d now\n", now+100, now)
	if got := talk.text.String(); code != ExitInterrupted || got != want {
		t.Errorf("exit code %d, %q; want %q", code, got, want)
	}
}

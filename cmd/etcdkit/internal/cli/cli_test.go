package cli

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/golden"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	cobra.EnablePrefixMatching = false // as the program's main has it
	child.RunSupervisor()
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// run runs the command within this process.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestHelpAndUsageErrors(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, tc := range []struct {
		name string
		args []string
		code int
	}{
		{"help", []string{"--help"}, 0},
		{"help-dev", []string{"dev", "--help"}, 0},
		{"help-dev-run", []string{"dev", "run", "--help"}, 0},
		{"help-tour", []string{"tour", "--help"}, 0},
		{"unknown-command", []string{"tuor"}, 2},
		{"dev-command-without-dev", []string{"kill", "leader"}, 2},
		{"etcdctl-command-without-ctl", []string{"defrag", "foo"}, 2},
		{"unknown-dev-command", []string{"dev", "kil", "etcd1"}, 2},
		{"misspelt-status", []string{"dev", "stats"}, 2},
		{"help-isolate", []string{"dev", "isolate", "--help"}, 0},
		{"help-blackhole", []string{"dev", "blackhole", "--help"}, 0},
		{"help-partition", []string{"dev", "partition", "--help"}, 0},
		{"help-resume", []string{"dev", "resume", "--help"}, 0},
		{"missing-group", []string{"dev", "partition"}, 2},
		{"unknown-flag", []string{"dev", "--memebrs", "3"}, 2},
		{"even-members", []string{"dev", "--members", "2"}, 2},
		{"members-not-a-number", []string{"dev", "--members", "three"}, 2},
		{"bad-output", []string{"dev", "-o", "yaml"}, 2},
		{"missing-argument", []string{"dev", "kill"}, 2},
		{"bad-latency", []string{"dev", "latency", "etcd1", "fast"}, 2},
		{"run-without-command", []string{"dev", "run"}, 125},
		{"no-cluster", []string{"dev", "status"}, 1},
		{"help-race", []string{"race", "--help"}, 0},
		{"race-odd-clients", []string{"race", "--clients", "3"}, 2},
		{"race-no-clients", []string{"race", "--clients", "0"}, 2},
		{"race-too-many-clients", []string{"race", "--clients", "102"}, 2},
		{"race-no-rounds", []string{"race", "--rounds", "0"}, 2},
		{"race-unknown-lock", []string{"race", "--only", "none,zookeeper"}, 2},
		{"race-misspelt-lock", []string{"race", "--only", "etcdkti"}, 2},
		{"race-lock-twice", []string{"race", "--only", "none,none"}, 2},
		{"race-no-lock", []string{"race", "--only", ""}, 2},
		{"race-bad-output", []string{"race", "-o", "svg"}, 2},
		{"race-svg-nowhere", []string{"race", "--svg", "/nowhere/race.svg"}, 1},
		{"help-lock", []string{"lock", "--help"}, 0},
		{"help-lock-run", []string{"lock", "run", "--help"}, 0},
		{"lock-nothing", []string{"lock"}, 125},
		{"lock-no-command", []string{"lock", "jobs"}, 125},
		{"lock-no-dash", []string{"lock", "jobs", "true"}, 125},
		{"lock-no-command-after-dash", []string{"lock", "jobs", "--"}, 125},
		{"lock-two-names", []string{"lock", "jobs", "more", "--", "true"}, 125},
		{"lock-no-name", []string{"lock", "--", "true"}, 125},
		{"lock-n-shared", []string{"lock", "--n", "2", "--shared", "jobs", "--", "true"}, 125},
		{"lock-n-0", []string{"lock", "--n", "0", "jobs", "--", "true"}, 125},
		{"lock-n-too-large", []string{"lock", "--n", "10001", "jobs", "--", "true"}, 125},
		{"lock-short-ttl", []string{"lock", "--ttl", "900ms", "jobs", "--", "true"}, 125},
		{"lock-grace-ttl", []string{"lock", "--ttl", "5s", "--kill-grace", "5s", "jobs", "--", "true"}, 125},
		{"lock-negative-grace", []string{"lock", "--kill-grace", "-1s", "jobs", "--", "true"}, 125},
		{"lock-nonblock-timeout", []string{"lock", "--nonblock", "--timeout", "1s", "jobs", "--", "true"}, 125},
		{"lock-no-timeout", []string{"lock", "--timeout", "0s", "jobs", "--", "true"}, 125},
		{"lock-not-found", []string{"lock", "jobs", "--", "no-such-program-here"}, 127},
		{"lock-not-a-duration", []string{"lock", "--ttl", "long", "jobs", "--", "true"}, 125},
		{"ready-file-nowhere", []string{"dev", "--ready-file", "/nowhere/ready"}, 1},
	} {
		stdout, stderr, code := run(t, tc.args...)
		if code != tc.code {
			t.Errorf("%v: exit code %d, want %d", tc.args, code, tc.code)
		}
		golden.Check(t, tc.name, stdout+stderr, *update)
	}
}

func TestVersionIsACommandAndAFlag(t *testing.T) {
	var said []string
	for _, args := range [][]string{{"version"}, {"--version"}} {
		stdout, stderr, code := run(t, args...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "etcd 3.7") {
			t.Errorf("%v: %q, exit code %d", args, stdout+stderr, code)
		}
		said = append(said, stdout)
	}
	if said[0] != said[1] {
		t.Errorf("version says %q and --version %q", said[0], said[1])
	}
}

func TestTheNearestNameIsTheOneWithTheFewestChanges(t *testing.T) {
	known := []string{"start", "status", "stop", "restart", "resume", "race"}
	for name, want := range map[string]string{"stats": "status", "star": "start", "stpo": "stop", "res": "restart", "Resum": "resume", "rac": "race", "zookeeper": "", "": ""} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// A ready file replaces what has its name, and is removed at the end: not a device or a link.
func TestAReadyFileReplacesNoDeviceAndNoLink(t *testing.T) {
	const reason = "is not a regular file: name another one"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"to-a-file": "file", "to-a-device": os.DevNull, "to-nothing": "nothing"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"file": "", "nothing": "", "to-a-file": reason, "to-a-device": reason, "to-nothing": reason, ".": "is a directory: want a file",
	} {
		switch err := checkReadyFile(filepath.Join(dir, name)); {
		case want == "" && err != nil:
			t.Errorf("%s: %v, want no error", name, err)
		case want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)):
			t.Errorf("%s: %v, want that it %s", name, err, want)
		}
	}
}

func TestDevRefusesADeviceAsItsReadyFileBeforeItStartsACluster(t *testing.T) {
	// With two members, which is the next thing to be refused, it never gets so far as to write.
	stdout, stderr, code := run(t, "dev", "--members", "2", "--ready-file", os.DevNull)
	if reason := "is not a regular file: name another one"; code != 1 || !strings.Contains(stderr, reason) {
		t.Errorf("got %q, exit code %d, want 1 and that it %s", stdout+stderr, code, reason)
	}
}

// A terminal of 80 columns shows the help of each command without breaking a line.
func TestNoLineOfTheHelpIsWiderThan80Columns(t *testing.T) {
	var calls [][]string
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		calls = append(calls, path)
		for _, c := range cmd.Commands() {
			if c.GroupID != groupUpstream {
				walk(c, append(slices.Clone(path), c.Name()))
			}
		}
	}
	walk(newRoot(&app{out: out.New(io.Discard, io.Discard)}), nil)
	if len(calls) < 20 {
		t.Fatalf("%d commands: want more than 20", len(calls))
	}
	for _, call := range calls {
		stdout, stderr, _ := run(t, append(call, "--help")...)
		for line := range strings.Lines(stdout + stderr) {
			if n := out.Width(strings.TrimSuffix(line, "\n")); n > helpWidth {
				t.Errorf("%v --help: %d columns: %s", call, n, line)
			}
		}
	}
}

func TestAnExitCodeDoesNotHideWhatElseWentWrong(t *testing.T) {
	other := errors.New("cluster: remove the data: disk full")
	for _, tc := range []struct {
		err  error
		code int
		want string
	}{
		{exitError(7), 7, ""},
		{errors.Join(exitError(7), nil), 7, ""},
		{errors.Join(exitError(7), other), 7, "etcdkit: remove the data: disk full\n"},
		{errors.Join(errors.Join(exitError(7), other), errors.New("client: close")), 7, "etcdkit: remove the data: disk full; close\n"},
		{errors.New("rpc: \x1b[31m\u202e \u009b \xff \"a\\\\b\""), 1, "etcdkit: rpc: \\x1b[31m\\u202e \\u009b \\xff \"a\\\\b\"\n"},
		{errors.Join(errors.New("lock: lost"), other), 1, "etcdkit: lost; remove the data: disk full\n"},
	} {
		var said bytes.Buffer
		a := &app{out: out.New(io.Discard, &said)}
		if code := a.exitCode(t.Context(), newRoot(a), tc.err); code != tc.code || said.String() != tc.want {
			t.Errorf("%v: got %q and %d, want %q and %d", tc.err, said.String(), code, tc.want, tc.code)
		}
	}
}

func TestACommandThatIsCalledIsMadeAlone(t *testing.T) {
	a := &app{out: out.New(io.Discard, io.Discard)}
	all := newRoot(a)
	for _, g := range groups() {
		for _, c := range g.commands {
			if made := c.command(a); made.Name() != c.name {
				t.Errorf("%q makes the command %q", c.name, made.Name())
			}
			a.args = []string{c.name, "--help"}
			alone := newRoot(a)
			if n := len(alone.Commands()); n != 1 && c.name != "man" {
				t.Errorf("%s: %d commands are made, want 1", c.name, n)
			}
			same, _, err := all.Find([]string{c.name})
			one, _, errAlone := alone.Find([]string{c.name})
			if err != nil || errAlone != nil || one.UsageString() != same.UsageString() || len(one.Commands()) != len(same.Commands()) {
				t.Errorf("%s: alone it is not what it is among all: %v, %v", c.name, err, errAlone)
			}
		}
	}
}

func TestTheHelpOfEachCommandHasThreeExamples(t *testing.T) {
	for _, c := range commands(newRoot(&app{out: out.New(io.Discard, io.Discard)})) {
		calls := 0
		for line := range strings.Lines(c.Example) {
			if strings.Contains(line, "etcdkit ") {
				calls++
			}
		}
		if calls < 3 {
			t.Errorf("%s: %d examples:\n%s", c.CommandPath(), calls, c.Example)
		}
	}
}

// commands are all below a command that a person may call, but for upstream's and help.
func commands(parent *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() && c.GroupID != groupUpstream && c.Name() != "help" {
			all = append(append(all, c), commands(c)...)
		}
	}
	return all
}

func TestManCountsThePagesThatItHasWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other.1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := run(t, "man", dir)
	files, err := filepath.Glob(filepath.Join(dir, "etcdkit*.1"))
	if want := out.Count(len(files), "page") + " in " + dir; err != nil || code != 0 || len(files) < 20 || strings.TrimSpace(stdout) != want {
		t.Errorf("got %q, exit code %d, want %q", stdout+stderr, code, want)
	}
}

func TestAMemberWithTwoPeerURLsIsOneMember(t *testing.T) {
	for cluster, want := range map[string]int{"a=http://h:1": 1, "a=http://h:1,a=http://h:2": 1, "a=http://h:1,b=https://h:2,a=http://h:3": 2} {
		if got := memberNames(cluster); len(got) != want {
			t.Errorf("%s: got %q, want %d", cluster, got, want)
		}
	}
}

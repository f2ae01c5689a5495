package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/golden"
)

// shell runs commands on a real etcd, within this process.
type shell struct {
	t      *testing.T
	cli    *clientv3.Client
	prefix string // of the test's own keys; ends in a slash
	stdin  string

	scrubs []scrub
}

// scrub replaces what differs from run to run.
type scrub struct {
	what *regexp.Regexp
	by   string
}

// newShell is a shell whose environment names the test's etcd, and no user's files.
func newShell(t *testing.T) *shell {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	s := &shell{t: t, cli: cli, prefix: prefix}
	t.Setenv("ETCDKIT_ENDPOINTS", strings.Join(cli.Endpoints(), ","))
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s.scrub(regexp.QuoteMeta(prefix), "PREFIX/")
	for _, endpoint := range cli.Endpoints() {
		s.scrub(regexp.QuoteMeta(endpoint), "HOST:PORT")
	}
	s.scrub(`\b[0-9a-f]{12,16}\b`, "HEX")
	return s
}

// scrub replaces what matches, in all golden files of this shell that follow.
func (s *shell) scrub(what, by string) {
	s.scrubs = append(s.scrubs, scrub{regexp.MustCompile(what), by})
}

// run runs a command to its end.
func (s *shell) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = Run(s.t.Context(), args, strings.NewReader(s.stdin), &out, &errs)
	return out.String(), errs.String(), code
}

// golden runs commands one after the other, each given as its arguments, and compares what a terminal would
// show, and the exit codes, with a golden file.
func (s *shell) golden(name string, commands ...[]string) {
	s.t.Helper()
	var all strings.Builder
	for _, args := range commands {
		stdout, stderr, code := s.run(args...)
		fmt.Fprintf(&all, "$ etcdkit %s\n%s", strings.Join(args, " "), stdout)
		if stdout != "" && !strings.HasSuffix(stdout, "\n") {
			all.WriteString("⏎\n") // there was no newline
		}
		for line := range strings.Lines(stderr) {
			all.WriteString("! " + line)
		}
		if code != 0 {
			fmt.Fprintf(&all, "exit code %d\n", code)
		}
		all.WriteByte('\n')
	}
	got := all.String()
	for _, scrub := range s.scrubs {
		got = scrub.what.ReplaceAllString(got, scrub.by)
	}
	got = regexp.MustCompile(`(?m)(\S|^) {2,}`).ReplaceAllString(got, "$1  ") // a column is as wide as an id or a prefix is long
	golden.Check(s.t, name, got, *update)
}

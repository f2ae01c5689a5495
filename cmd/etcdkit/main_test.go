package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	exitInterrupted = cli.ExitInterrupted
	exitUnread      = cli.ExitUnread
)

// mainEnv makes this test binary the program: main, with its arguments.
const mainEnv = "ETCDKIT_TEST_MAIN"

func TestMain(m *testing.M) {
	ticker.Become() // in a process that was started to be one
	if os.Getenv(mainEnv) != "" {
		main()
		return
	}
	means.TestsAtATime(4)
	means.HearHangups()
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// etcdkit makes a command of the program. Its control sockets and temporary files are in dir.
func etcdkit(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1", "XDG_RUNTIME_DIR="+dir, "XDG_CONFIG_HOME="+t.TempDir(), "TMPDIR="+dir,
		"ETCDKIT_ENDPOINTS=", "ETCDCTL_ENDPOINTS=")
	return cmd
}

// shortDir is a temporary directory whose sockets' paths are short enough.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// output runs the program to its end.
func output(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Figures and names that differ from run to run.
var varying = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\d+\.\d\ds`), "N.NNs"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST:PORT"},
	{regexp.MustCompile(`etcd\d`), "etcdN"},
	{regexp.MustCompile(`leader  |follower`), "ROLE"},
	{regexp.MustCompile(`\d{3,}`), "PID"},
	{regexp.MustCompile(` {2,}`), "  "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func normal(s string) string {
	for _, v := range varying {
		s = v.re.ReplaceAllString(s, v.to)
	}
	return s
}

func TestTheProgramIsEtcdAndEtcdctlToo(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ link, want string }{{"etcd", "etcd Version: 3.7.3"}, {"etcdctl", "etcdctl version: 3.7.3"}} {
		link := filepath.Join(dir, tc.link)
		if err := os.Symlink(exe, link); err != nil {
			t.Fatal(err)
		}
		args := map[string]string{"etcd": "--version", "etcdctl": "version"}[tc.link]
		for _, cmd := range []*exec.Cmd{
			exec.Command(link, args),
			exec.Command(exe, map[string]string{"etcd": "etcd", "etcdctl": "ctl"}[tc.link], args),
		} {
			cmd.Env = append(os.Environ(), mainEnv+"=1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), tc.want) {
				t.Errorf("%v: got %q, %v, want %q", cmd.Args, out, err, tc.want)
			}
		}
	}
}

// talk is a program's stderr that a test can wait on.
type talk struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newTalk() *talk { return &talk{changed: make(chan struct{}, 1)} }

func (k *talk) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
	return k.buf.Write(b)
}

func (k *talk) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.String()
}

func (k *talk) wait(t testing.TB, text string) {
	t.Helper()
	// A tour compiles programs first, beside all other tests.
	deadline := time.After(time.Minute)
	for !strings.Contains(k.String(), text) {
		select {
		case <-k.changed:
		case <-deadline:
			t.Fatalf("stderr has no %q: %s", text, k)
		}
	}
}

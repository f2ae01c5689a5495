package examples_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
	"go.uber.org/goleak"
)

// patience is how long a test waits for anything. It is long: a machine that runs all tests at once is slow.
const patience = time.Minute

// bin is where TestMain puts the programs.
var bin string

func TestMain(m *testing.M) { goleak.VerifyTestMain(built{etcdtest.Main(m)}) }

// built builds the programs before it runs the tests, and removes them afterwards.
type built struct{ tests *etcdtest.M }

func (b built) Run() int {
	dir, err := os.MkdirTemp("", "etcdkit-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	args := []string{"build", "-o", dir}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "./...")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the examples: %v\n%s", err, out)
		return 1
	}
	bin = dir
	return b.tests.Run()
}

// A process is a running example.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{} // closed when the process has ended
}

// start runs the program in dir examples/name. It is killed when the test ends, if it is still there.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startWith(t, nil, name, args...)
}

func startWith(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(bin, name), args...), done: make(chan struct{})}
	p.cmd.Args[0] = name // so that the usage reads the same everywhere
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "ETCD") })
	p.cmd.Env = append(p.cmd.Env, env...)
	p.stdout.grown, p.stderr.grown = make(chan struct{}), make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, and the test waits for that
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // long gone, as a rule
		<-p.done
		if t.Failed() {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", strings.Join(p.cmd.Args, " "), p.stdout.all(), p.stderr.all())
		}
	})
	return p
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("send %v to %v: %v", sig, p.cmd.Args, err)
	}
}

// exits waits for the end of the process and checks its exit code.
func (p *process) exits(t *testing.T, want int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%v is still running after %v", p.cmd.Args, patience)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("%v: exit code %d, want %d", p.cmd.Args, got, want)
	}
	for _, out := range []string{p.stdout.all(), p.stderr.all()} {
		if strings.Contains(out, "goroutine ") || strings.Contains(out, "DATA RACE") {
			t.Errorf("%v: a stack trace:\n%s", p.cmd.Args, out)
		}
	}
}

// prints waits until the process has printed this line after those that the test has waited for already.
func (p *process) prints(t *testing.T, line string) {
	t.Helper()
	p.await(t, &p.stdout, "^"+regexp.QuoteMeta(line)+"$")
}

// says is prints for stderr, where any part of the line will do.
func (p *process) says(t *testing.T, part string) {
	t.Helper()
	p.await(t, &p.stderr, regexp.QuoteMeta(part))
}

// await waits for a line of out and returns it with what its parentheses match.
func (p *process) await(t *testing.T, out *output, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	deadline := time.After(patience)
	for over := false; ; {
		match, grown := out.next(re)
		if match != nil {
			return match
		}
		if over {
			t.Fatalf("%v has ended without the line %s", p.cmd.Args, pattern)
		}
		select {
		case <-grown:
		case <-p.done:
			over = true // and look a last time
		case <-deadline:
			t.Fatalf("%v has not printed the line %s in %v", p.cmd.Args, pattern, patience)
		}
	}
}

// output is a writer that others can wait on.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	seen  int           // how much of it next has gone past
	grown chan struct{} // closed and replaced at each write
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// next finds re in the complete lines not yet seen and goes past it, or says how to wait for more.
func (o *output) next(re *regexp.Regexp) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.text.String()[o.seen:]
	text = text[:strings.LastIndexByte(text, '\n')+1]
	at := re.FindStringSubmatchIndex(text)
	if at == nil {
		return nil, o.grown
	}
	o.seen += at[1]
	return re.FindStringSubmatch(text), nil
}

//go:build linux

package child_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestMain(m *testing.M) {
	child.RunSupervisor()
	ticker.Become()
	means.TestsAtATime(4)
	means.HearHangups()
	goleak.VerifyTestMain(m)
}

// started is a shell's script that was started.
type started struct {
	*child.Process
	lines *bufio.Reader
}

// start starts a script.
func start(t *testing.T, script string) *started {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = w
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		p.Stop(0)
		<-p.Done()
		r.Close()
	})
	return &started{Process: p, lines: bufio.NewReader(r)}
}

// said waits for the next line that it prints.
func (s *started) said(t *testing.T, want string) {
	t.Helper()
	line, err := s.lines.ReadString('\n')
	if got := strings.TrimSpace(line); err != nil || got != want {
		t.Fatalf("it said %q, %v, want %q", got, err, want)
	}
}

// ended waits for Done, and for the end of all processes that have the output. It returns the exit code, and
// what else they said.
func (s *started) ended(t *testing.T) (code int, said string) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it still runs")
	}
	rest := make(chan string, 1)
	go func() { // ends with the last process that has the pipe
		text, _ := io.ReadAll(s.lines)
		rest <- string(text)
	}()
	select {
	case said = <-rest:
	case <-time.After(20 * time.Second):
		t.Fatal("a process of its group still runs")
	}
	return s.Code(), said
}

func TestTheExitCodeIsAsAShellHasIt(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		if got, _ := start(t, script).ended(t); got != want {
			t.Errorf("%q: got %d, want %d", script, got, want)
		}
	}
}

func TestACommandThatCannotRunHasTheExitCodeOfAShell(t *testing.T) {
	dir := t.TempDir()
	plain, broken := filepath.Join(dir, "plain"), filepath.Join(dir, "broken")
	for file, mode := range map[string]os.FileMode{plain: 0o600, broken: 0o700} {
		if err := os.WriteFile(file, []byte("\x00\x01 no program"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{
		"no-such-program-here": child.CodeNotFound, dir + "/none": child.CodeNotFound, plain + "/x": child.CodeNotFound,
		plain: child.CodeCannotRun, dir: child.CodeCannotRun, broken: child.CodeCannotRun,
	} {
		cmd, err := child.Command([]string{name, "arg"})
		if err == nil {
			_, err = child.Start(cmd)
		}
		var cannot *child.CannotRunError
		if !errors.As(err, &cannot) || cannot.Code != want {
			t.Errorf("%s: got %v, want exit code %d", name, err, want)
		}
	}
}

func TestTheProgramsNameIsAsTheUserTypedIt(t *testing.T) {
	cmd, err := child.Command([]string{"sh", "-c", "exit 3"})
	if err != nil || cmd.Args[0] != "sh" || !filepath.IsAbs(cmd.Path) {
		t.Fatalf("got %v, %v, want sh with its path", cmd, err)
	}
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Code() != 3 {
		t.Errorf("exit code %d, want 3", p.Code())
	}
}

// worker is a script that ignores SIGTERM, and says so.
const worker = `(trap "echo heard" TERM; echo ready; while :; do sleep 0.02; done) & `

func TestWhatIsLeftOfTheGroupIsAskedToEndBeforeDone(t *testing.T) {
	p := start(t, `(trap "echo ended; exit" TERM; echo ready; while :; do sleep 0.02; done) & exec sleep 0.3`)
	p.said(t, "ready")
	if code, said := p.ended(t); code != 0 || said != "ended\n" {
		t.Errorf("exit code %d, it said %q, want 0 and that the background had ended", code, said)
	}
}

func TestWhatIsLeftOfTheGroupIsKilledAfterItsGrace(t *testing.T) {
	p := start(t, worker+"exec sleep 300")
	p.said(t, "ready")
	p.Stop(300 * time.Millisecond) // ends sleep
	if code, said := p.ended(t); code != 143 || !strings.Contains(said, "heard") {
		t.Errorf("exit code %d, it said %q, want 143 and that the background was asked first", code, said)
	}
}

func TestStopAsksFirstAndKillsAfterTheGrace(t *testing.T) {
	p := start(t, `trap "echo heard" TERM; echo ready; while :; do sleep 0.02; done`)
	p.said(t, "ready")
	begin := time.Now()
	p.Stop(300 * time.Millisecond)
	p.Stop(time.Hour) // does not prolong it
	code, said := p.ended(t)
	if took := time.Since(begin); code != 137 || said != "heard\n" || took < 300*time.Millisecond {
		t.Errorf("exit code %d after %v, it said %q, want 137 after 300ms and that it was asked once", code, took, said)
	}
}

func TestASecondStopShortensTheGrace(t *testing.T) {
	p := start(t, `trap "" TERM; echo ready; while :; do sleep 0.02; done`)
	p.said(t, "ready")
	p.Stop(time.Hour)
	p.Stop(0)
	if code, _ := p.ended(t); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
}

func TestStopEndsACommandThatIsStopped(t *testing.T) {
	p := start(t, `trap "echo ended; exit 5" TERM; echo ready; while :; do sleep 0.02; done`)
	p.said(t, "ready")
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Stop(10 * time.Second)
	if code, said := p.ended(t); code != 5 || said != "ended\n" {
		t.Errorf("exit code %d, it said %q, want 5 from its handler", code, said)
	}
}

func TestASignalReachesTheWholeGroupAndNoneAfterTheEnd(t *testing.T) {
	p := start(t, `trap : USR1; (trap "echo background; exit" USR1; echo ready; while :; do sleep 0.02; done) & wait; wait`)
	p.said(t, "ready")
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	p.said(t, "background")
	p.ended(t)
	if err := p.Signal(syscall.SIGUSR1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: got %v, want os.ErrProcessDone", err)
	}
	p.Stop(time.Second) // does nothing
}

func TestAllSignalsArePassedOnButThoseThatMeanThisProcess(t *testing.T) {
	signals, stop := child.Forwarded()
	defer stop()
	all := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGALRM}
	var got []syscall.Signal
	for _, s := range all {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-signals:
			got = append(got, s.(syscall.Signal))
		case <-time.After(10 * time.Second):
			t.Fatalf("signal %v was not passed on", s)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(all) {
		t.Errorf("got %v, want %v", got, all)
	}
	for _, s := range []syscall.Signal{syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE} {
		if slices.Contains(child.ForwardedList(), os.Signal(s)) {
			t.Errorf("%v is passed on", s)
		}
	}
}

func TestInputThatIsNoFileIsCopied(t *testing.T) {
	cmd := exec.Command("cat")
	var out strings.Builder
	cmd.Stdin, cmd.Stdout = strings.NewReader("text"), &out
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if out.String() != "text" || p.Code() != 0 {
		t.Errorf("got %q, exit code %d, want what it was given", out.String(), p.Code())
	}
}

//go:build linux

package child_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
)

// await waits until it is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.After(20 * time.Second); !is(); {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("it never was so: %s", what)
		}
	}
}

// held is what a command may not outlive.
type held struct {
	mu       sync.Mutex
	deadline time.Time
	boot     time.Duration // the same on the clock of the commands
	done     chan struct{}
}

func holdFor(d time.Duration) *held {
	h := &held{done: make(chan struct{})}
	h.renew(d)
	return h
}

func (h *held) renew(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline, h.boot = time.Now().Add(d), child.BootTime()+d // read later, so never earlier than the first
}

func (h *held) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline
}

func (h *held) Done() <-chan struct{} { return h.done }

// supervise starts a supervisor.
func supervise(t *testing.T, grace time.Duration) *child.Supervisor {
	t.Helper()
	s, err := child.Supervise(&child.SuperviseOptions{Grace: grace, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// result is that of a Run.
type result struct {
	code int
	err  error
}

// run has a supervisor run a command.
func run(s *child.Supervisor, cmd *exec.Cmd, h child.Held) <-chan result {
	ended := make(chan result, 1)
	go func() { // ends with the command
		code, err := s.Run(cmd, h, nil)
		ended <- result{code, err}
	}()
	return ended
}

func wait(t *testing.T, ended <-chan result) result {
	t.Helper()
	select {
	case r := <-ended:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("Run does not return")
		panic("unreachable")
	}
}

func TestACommandEndsBeforeTheLastDeadlineAndNotWithAnEarlierOne(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s := supervise(t, 200*time.Millisecond)
			k := ticker.New(t)
			h := holdFor(8 * time.Second)
			first := h.boot
			ended := run(s, k.Cmd(), h)
			await(t, "it ticks", func() bool { return k.Last() > 0 })
			h.renew(10 * time.Second)
			r := wait(t, ended)
			if !errors.Is(r.err, child.ErrEnded) || r.code != 137 {
				t.Errorf("got %d, %v, want 137 and ErrEnded", r.code, r.err)
			}
			switch at := k.Last(); {
			case at >= h.boot:
				t.Errorf("it ran until %v after the deadline", at-h.boot)
			case at <= first:
				t.Errorf("it ran until %v before the first deadline, which had been prolonged", first-at)
			}
		})
	}
	all.Wait()
}

func TestALossThatIsCertainEndsTheCommandAtOnce(t *testing.T) {
	s := supervise(t, 10*time.Second)
	h := holdFor(time.Minute)
	file := filepath.Join(t.TempDir(), "ready")
	ended := run(s, exec.Command("sh", "-c", `trap "exit 9" TERM; touch `+file+`; while :; do sleep 0.02; done`), h)
	await(t, "it is ready", func() bool { _, err := os.Stat(file); return err == nil })
	close(h.done)
	if r := wait(t, ended); !errors.Is(r.err, child.ErrEnded) || r.code != 9 {
		t.Errorf("got %d, %v, want its own exit code 9 and ErrEnded", r.code, r.err)
	}
}

func TestALossThatIsCertainKillsTheCommandAfterTheGrace(t *testing.T) {
	s := supervise(t, 300*time.Millisecond)
	h := holdFor(time.Minute)
	k := ticker.New(t)
	ended := run(s, k.Cmd(), h)
	await(t, "it ticks", func() bool { return k.Last() > 0 })
	lost := child.BootTime()
	close(h.done)
	r := wait(t, ended)
	if at := k.Last(); !errors.Is(r.err, child.ErrEnded) || r.code != 137 || at < lost+200*time.Millisecond || at > h.boot {
		t.Errorf("got %d, %v, and it ran for %v, want 137 and ErrEnded after the grace of 300ms", r.code, r.err, at-lost)
	}
}

func TestTheEndOfTheCommandIsReportedWithItsOwnCodeAfterItsGroup(t *testing.T) {
	s := supervise(t, 300*time.Millisecond)
	k := ticker.New(t)
	cmd := exec.Command("sh", "-c", strings.Join(k.Argv, " ")+" & until [ -s "+k.File+" ]; do sleep 0.01; done; exit 4")
	r := wait(t, run(s, cmd, holdFor(time.Minute)))
	if r.code != 4 || r.err != nil || k.Last() == 0 {
		t.Fatalf("got %d, %v, and its background ran at %v, want 4", r.code, r.err, k.Last())
	}
	stopped(t, k)
}

func TestWithoutTimeLeftTheCommandIsNotStarted(t *testing.T) {
	t.Parallel()
	s := supervise(t, time.Second)
	k := ticker.New(t)
	if r := wait(t, run(s, k.Cmd(), holdFor(time.Second))); !errors.Is(r.err, child.ErrEnded) || k.Last() != 0 {
		t.Errorf("got %d, %v, and it ran at %v, want that it never runs", r.code, r.err, k.Last())
	}
}

func TestACommandStartsWhenARenewalLeavesTimeForIt(t *testing.T) {
	s := supervise(t, 10*time.Second)
	h := holdFor(5 * time.Second) // less than the grace
	ended := run(s, exec.Command("sh", "-c", "exit 4"), h)
	h.renew(time.Minute)
	if r := wait(t, ended); r.code != 4 || r.err != nil {
		t.Errorf("got %d, %v, want 4", r.code, r.err)
	}
}

func TestASupervisedCommandThatCannotRunHasItsExitCode(t *testing.T) {
	s := supervise(t, 0)
	r := wait(t, run(s, exec.Command(t.TempDir()), holdFor(time.Minute)))
	var cannot *child.CannotRunError
	if !errors.As(r.err, &cannot) || cannot.Code != child.CodeCannotRun {
		t.Errorf("got %v, want exit code %d", r.err, child.CodeCannotRun)
	}
}

func TestTheWrapperEndsTheCommandOfASupervisorThatIsKilled(t *testing.T) {
	s := supervise(t, 200*time.Millisecond)
	k := ticker.New(t)
	h := holdFor(time.Minute)
	ended := run(s, k.Cmd(), h)
	await(t, "it ticks", func() bool { return k.Last() > 0 })
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, ended); !errors.Is(r.err, child.ErrSupervisor) || r.code != 137 {
		t.Errorf("got %d, %v, want 137 and ErrSupervisor", r.code, r.err)
	}
	stopped(t, k)
}

// stopped checks that a command does not tick.
func stopped(t *testing.T, k *ticker.Ticker) {
	t.Helper()
	at := k.Last()
	<-time.After(50 * time.Millisecond)
	if again := k.Last(); again != at {
		t.Errorf("it still runs at %v", again)
	}
}

func TestTheWrapperKillsTheCommandOfASupervisorThatIsStopped(t *testing.T) {
	t.Parallel()
	s := supervise(t, 200*time.Millisecond)
	k := ticker.New(t)
	h := holdFor(5 * time.Second)
	ended := run(s, k.Cmd(), h)
	await(t, "it ticks", func() bool { return k.Last() > 0 })
	if err := syscall.Kill(s.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := wait(t, ended)
	if !errors.Is(r.err, child.ErrEnded) || r.code != 137 {
		t.Errorf("got %d, %v, want 137 and ErrEnded", r.code, r.err)
	}
	if at := k.Last(); at >= h.boot {
		t.Errorf("it ran until %v after the deadline", at-h.boot)
	}
}

func TestACommandThatIsStoppedIsNotContinuedAfterTheDeadline(t *testing.T) {
	t.Parallel()
	s := supervise(t, 200*time.Millisecond)
	k := ticker.New(t)
	h := holdFor(5 * time.Second)
	ended := run(s, k.Cmd(), h)
	await(t, "it ticks", func() bool { return k.Last() > 0 })
	for _, pid := range childrenOf(t, s.Pid()) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if r := wait(t, ended); !errors.Is(r.err, child.ErrEnded) || r.code != 137 {
		t.Errorf("got %d, %v, want 137 and ErrEnded", r.code, r.err)
	}
	if at := k.Last(); at >= h.boot {
		t.Errorf("it ran until %v after the deadline", at-h.boot)
	}
}

// childrenOf are the processes that a process has started, or adopted.
func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no children of %d: %v", parent, err)
	}
	var all []int
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(b)) {
			var pid int
			fmt.Sscan(field, &pid)
			all = append(all, pid)
		}
	}
	return all
}

func TestTheSupervisorReapsOrphans(t *testing.T) {
	s := supervise(t, time.Second)
	h := holdFor(time.Minute)
	dir := t.TempDir()
	// Each of the ten ends after its parent, the subshell: then it is the supervisor's.
	script := `for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'sleep 0.05; touch $0/'$i "$1" &); done; until [ -e $0/stop ]; do sleep 0.02; done`
	script = strings.ReplaceAll(script, `"$1"`, dir)
	ended := run(s, exec.Command("sh", "-c", script, dir), h)
	await(t, "all have ended", func() bool {
		files, _ := os.ReadDir(dir)
		return len(files) == 10
	})
	await(t, "only the command is left", func() bool { return len(childrenOf(t, s.Pid())) == 1 })
	if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, ended); r.code != 0 || r.err != nil {
		t.Errorf("got %d, %v", r.code, r.err)
	}
}

func TestTheCommandHasNoFileOfTheSupervisorAndItsSignalsAsTheyWere(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := supervise(t, 0)
	cmd := exec.Command("sh", "-c", `exec >`+out+`; ls /proc/self/fd | wc -l; grep -E "SigIgn|SigBlk" /proc/self/status`)
	if r := wait(t, run(s, cmd, holdFor(time.Minute))); r.code != 0 || r.err != nil {
		t.Fatalf("got %d, %v", r.code, r.err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	plain := exec.Command("sh", "-c", `ls /proc/self/fd | wc -l; grep -E "SigIgn|SigBlk" /proc/self/status`)
	want, err := plain.Output()
	if err != nil || string(b) != string(want) {
		t.Errorf("files and signals:\n%swithout a supervisor:\n%s%v", b, want, err)
	}
}

func TestCloseEndsASupervisorThatHasNoCommandYet(t *testing.T) {
	s, err := child.Supervise(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the supervisor: got %v, want that it is gone", err)
	}
}

func TestTheAlarmAndTheDeadlinesAreOnTheClockThatRunsWhileTheMachineIsSuspended(t *testing.T) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		t.Fatal(err)
	}
	if got, want := child.BootTime(), time.Duration(boot.Nano()); got < want || got > want+time.Second {
		t.Errorf("the clock says %v, CLOCK_BOOTTIME %v", got, want)
	}
}

//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// liveScreen is a program on a pseudo-terminal whose drawing can be waited for while it runs.
type liveScreen struct {
	t        *testing.T
	cmd      *exec.Cmd
	user     *os.File
	finished chan struct{}

	mu    sync.Mutex
	drawn strings.Builder
}

func startLive(t *testing.T, cmd *exec.Cmd) *liveScreen {
	t.Helper()
	user, programs := openTerminal(t)
	cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	l := &liveScreen{t: t, cmd: cmd, user: user, finished: make(chan struct{})}
	go func() { // ends when programs is closed, by end or by the end of the test
		defer close(l.finished)
		for buf := make([]byte, 4096); ; {
			n, err := user.Read(buf)
			l.mu.Lock()
			l.drawn.Write(buf[:n])
			l.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *liveScreen) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drawn.String()
}

// mostShown is how much of what was drawn a failure shows: about a picture.
const mostShown = 3000

// await waits until a text is drawn that was not there before, and returns what is drawn by then.
func (l *liveScreen) await(want string) {
	l.t.Helper()
	l.awaitFrom(len(l.text()), want)
}

func (l *liveScreen) awaitFrom(from int, want string) {
	l.t.Helper()
	deadline := time.After(time.Minute)
	for {
		if text := l.text(); strings.Contains(text[min(from, len(text)):], want) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			text := l.text()
			l.t.Fatalf("no %q on the screen: …%q", want, text[max(from, len(text)-mostShown):])
		}
	}
}

func (l *liveScreen) write(keys string) {
	l.t.Helper()
	if _, err := l.user.WriteString(keys); err != nil {
		l.t.Fatal(err)
	}
}

// wantEnded waits for the end, and checks that the terminal is as it was.
func (l *liveScreen) wantEnded(code int) {
	l.t.Helper()
	_ = l.cmd.Wait()
	if got := l.cmd.ProcessState.ExitCode(); got != code {
		l.t.Errorf("exit code %d, want %d", got, code)
	}
	modes, err := unix.IoctlGetTermios(int(l.user.Fd()), unix.TCGETS)
	if err != nil || modes.Lflag&unix.ICANON == 0 || modes.Lflag&unix.ECHO == 0 || modes.Lflag&unix.ISIG == 0 {
		l.t.Errorf("the terminal's modes are not restored: %+v, %v", modes, err)
	}
	l.awaitFrom(0, leaveScreen)
	if n := strings.Count(l.text(), enterScreen); n != 1 {
		l.t.Errorf("the other screen was entered %d times", n)
	}
}

func TestTopIsDrawnLiveAndGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	lease, err := cli.Grant(t.Context(), 300)
	if err != nil {
		t.Fatal(err)
	}
	live := startLive(t, onCluster(etcdkit(t, shortDir(t), "top", "--every", "500ms"), cli))
	live.await("Locks: 0 held")
	_, err = cli.Put(t.Context(), "jobs/nightly/1-0", `{"nonce":"n","pid":7,"host":"vm","command":"worker"}`, clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	live.await("worker (pid 7 on host vm)")
	live.write("5")
	live.await("REMAINING")
	live.write("p")
	live.await("paused")
	live.write("p1")
	if _, err := c.Pause(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	live.await("etcd has not answered for")
	live.await("worker (pid 7 on host vm)") // and the last picture stays
	if _, err := c.Resume(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	live.await("can lose 1 more member")
	if err := unix.IoctlSetWinsize(int(live.user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 40, Row: 8}); err != nil {
		t.Fatal(err)
	}
	live.await("scro…") // the last line, which is too long now
	live.write("q")
	live.wantEnded(0)

	if _, err := c.Pause(t.Context(), "all"); err != nil { // before it begins
		t.Fatal(err)
	}
	live = startLive(t, onCluster(etcdkit(t, shortDir(t), "top", "--every", "500ms", "--dial-timeout", "500ms"), cli))
	live.await("no member answered")
	if _, err := c.Resume(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	live.await("Locks: 1 held")
	live.write("q")
	live.wantEnded(0)

	for what, end := range map[string]func(l *liveScreen){
		"Ctrl-C": func(l *liveScreen) { l.write("\x03") },
		"SIGTERM": func(l *liveScreen) {
			if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Log(what)
		live := startLive(t, onCluster(etcdkit(t, shortDir(t), "top"), cli))
		live.await("Locks: 1 held")
		end(live)
		live.wantEnded(exitInterrupted)
	}
}

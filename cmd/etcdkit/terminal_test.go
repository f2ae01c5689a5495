//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// openTerminal opens a pseudo-terminal of 80 by 24: what a user would have before him, and the program's
// end of it.
func openTerminal(t *testing.T) (users, programs *os.File) {
	t.Helper()
	users, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		means.Missing(t, "no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { users.Close() })
	fd := int(users.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 80, Row: 24}); err != nil {
		t.Fatal(err)
	}
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { programs.Close() })
	return users, programs
}

// ownSession makes the terminal, which is a command's input, the one that controls it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true, Setctty: true} }

// startOnTerminal starts the program on a pseudo-terminal. drawn waits for its end, and returns all that it has
// written there.
func startOnTerminal(t *testing.T, cmd *exec.Cmd, env ...string) (user *os.File, drawn func() string) {
	t.Helper()
	users, programs := openTerminal(t)
	cmd.Env = append(append(cmd.Env, "TERM=xterm", "NO_COLOR="), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	programs.Close()
	all := make(chan string, 1)
	go func() { // ends with the program, the terminal's only user
		var b strings.Builder
		for buf := make([]byte, 4096); ; {
			n, err := users.Read(buf)
			b.Write(buf[:n])
			if err != nil { // EIO, when the other end is closed
				break
			}
		}
		all <- b.String()
	}()
	return users, func() string {
		_ = cmd.Wait()
		return <-all
	}
}

// onTerminal runs the race on a pseudo-terminal and returns what it drew there. When clients race on
// cli's cluster, the user does act.
func onTerminal(t *testing.T, cli *clientv3.Client, env []string, act func(user *os.File), args ...string) (text string, code int) {
	t.Helper()
	events := cli.Watch(t.Context(), "counter-", clientv3.WithPrefix())
	cmd := onCluster(etcdkit(t, shortDir(t), append([]string{"race"}, args...)...), cli)
	user, drawn := startOnTerminal(t, cmd, env...)
	awaitRace(t, events, "etcdkit")
	act(user)
	text = drawn()
	return text, cmd.ProcessState.ExitCode()
}

func TestDevFitsATerminalOf80ColumnsAndIsColoured(t *testing.T) {
	t.Parallel()
	for env, coloured := range map[string]bool{"TERM=xterm": true, "NO_COLOR=1": false, "TERM=dumb": false} {
		d := &dev{dir: shortDir(t)}
		ready := filepath.Join(d.dir, "ready")
		cmd := etcdkit(t, d.dir, "dev", "--any-port", "--gateway", "--ready-file", ready)
		_, drawn := startOnTerminal(t, cmd, env)
		deadline := time.After(time.Minute)
		for _, err := os.Stat(ready); err != nil; _, err = os.Stat(ready) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"latency", "all", "1ms"}, {"kill", "leader"}, {"kill", "all"}} {
			if stdout, stderr, code := d.does(t, args...); code != 0 {
				t.Errorf("%v: exit code %d: %s", args, code, stdout+stderr)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		text := drawn()
		if got := colours.MatchString(text); got != coloured {
			t.Errorf("%s: colours: %v, want %v: %q", env, got, coloured, text)
		}
		text = colours.ReplaceAllString(text, "")
		if !strings.Contains(text, "QUORUM LOST") || !strings.Contains(text, "dev kill leader") {
			t.Errorf("%s: it does not say what happens, or what to do: %s", env, text)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			if n := utf8.RuneCountInString(line); n > 80 || strings.ContainsAny(line, "\r\033") {
				t.Errorf("%s: %d columns: %q", env, n, line)
			}
		}
	}
}

// What a terminal needs for its other screen, and for the shell's again.
const (
	enterScreen = "\033[?1049h\033[?25l\033[?7l"
	leaveScreen = "\033[?7h\033[?25h\033[?1049l"
)

var (
	colours  = regexp.MustCompile("\033\\[[0-9]+m")
	progress = regexp.MustCompile("0 of ([1-9][0-9]*)")
)

func TestOnATerminalTheRaceIsDrawnAsItHappensAndItsResultStays(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	for _, noColour := range []bool{false, true} {
		var env []string
		if noColour {
			env = []string{"NO_COLOR=1"}
		}
		drawn, code := onTerminal(t, cli, env, func(*os.File) {}, "--only", "etcdkit", "--rounds", "150")
		if code != 0 {
			t.Fatalf("exit code %d\n%q", code, drawn)
		}
		_, drawn, entered := strings.Cut(drawn, enterScreen)
		picture, result, left := strings.Cut(drawn, leaveScreen)
		if !entered || !left || !strings.Contains(picture, "Ctrl-C ends it") || strings.Contains(result, "Ctrl-C ends it") {
			t.Errorf("want a picture on the other screen and the result on this one: %q", drawn)
		}
		if !strings.Contains(colours.ReplaceAllString(result, ""), "\r\netcdkit        0 of 300          0 ") {
			t.Errorf("the result does not stay: %q", result)
		}
		if got := colours.MatchString(drawn); got == noColour {
			t.Errorf("NO_COLOR is %v, and there are colours: %v", env, got)
		}
		if seen := progress.FindAllStringSubmatch(picture, -1); !slices.ContainsFunc(seen, func(m []string) bool { return m[1] != "300" }) {
			t.Errorf("it was not drawn while it happened: %v", seen)
		}
	}
}

func TestCtrlCOnATerminalGivesItBackAndLeavesNothing(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, nil))
	drawn, code := onTerminal(t, cli, nil, func(user *os.File) {
		if _, err := user.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
	}, "--only", "etcdkit", "--rounds", "1000")
	if code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	_, stays, left := strings.Cut(drawn, leaveScreen)
	if !left || strings.Count(drawn, enterScreen) != 1 {
		t.Errorf("the terminal is not given back: %q", drawn)
	}
	if plain := colours.ReplaceAllString(stays, ""); !strings.Contains(plain, "\r\netcdkit ") || !strings.HasSuffix(plain, "etcdkit: interrupted\r\n") {
		t.Errorf("the last picture does not stay: %q", stays)
	}
	nothingLeft(t, cli)
}

func TestADumbTerminalGetsNoControlCharacters(t *testing.T) {
	t.Parallel()
	means.ReserveDefaultPort(t)
	users, programs := openTerminal(t)
	cmd := etcdkit(t, shortDir(t), "tour")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	programs.Close()
	var drawn strings.Builder
	asked := false
	for buf := make([]byte, 4096); ; {
		n, err := users.Read(buf)
		drawn.Write(buf[:n])
		if err != nil { // EIO, when the other end is closed
			break
		}
		if !asked && strings.Contains(drawn.String(), "── 4 service") { // two waits are over by then
			asked = true
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
	}
	_ = cmd.Wait()
	text := strings.ReplaceAll(drawn.String(), "\r\n", "\n") // the terminal's own
	if !asked || strings.ContainsAny(text, "\r\033\b") {
		t.Errorf("exit code %d, control characters in %q", cmd.ProcessState.ExitCode(), text)
	}
}

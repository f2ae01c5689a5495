//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// What a user types.
const ctrlC, ctrlD, ctrlZ = "\x03", "\x04", "\x1a"

const prompt = "ready> "

// shell is a bash with job control at a terminal, and what it shows there.
type shell struct {
	t    *testing.T
	user *os.File
	pid  int
	said *talk
	read int // how much of it the test has seen
}

// startShell starts a shell in which $E is etcdkit, on cli's cluster.
func startShell(t *testing.T, cli *clientv3.Client) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		means.Missing(t, "no bash here: %v", err)
	}
	users, programs := openTerminal(t)
	cmd := etcdkit(t, shortDir(t))
	cmd.Env = append(onCluster(cmd, cli).Env, "E="+cmd.Path, "PS1="+prompt, "TERM=xterm", "NO_COLOR=1", "HISTFILE=")
	cmd.Path, cmd.Args = bash, []string{"bash", "--norc", "-i"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	programs.Close()
	s := &shell{t: t, user: users, pid: cmd.Process.Pid, said: newTalk()}
	ended := make(chan struct{})
	go func() { // ends with the terminal's last program
		defer close(ended)
		for buf := make([]byte, 4096); ; {
			n, err := users.Read(buf)
			_, _ = s.said.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its jobs get SIGHUP from the terminal
		_ = cmd.Wait()
		<-ended
	})
	s.sees(prompt)
	return s
}

// sees waits until the terminal shows a text, after what was seen before.
func (s *shell) sees(text string) {
	s.t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		all := s.said.String()
		if at := strings.Index(all[s.read:], text); at >= 0 {
			s.read += at + len(text)
			return
		}
		select {
		case <-s.said.changed:
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q: %q", text, all)
		}
	}
}

// types types a text.
func (s *shell) types(text string) {
	s.t.Helper()
	if _, err := s.user.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// runs types a command line.
func (s *shell) runs(format string, args ...any) {
	s.t.Helper()
	s.types(fmt.Sprintf(format, args...) + "\n")
	s.sees("\n")
}

// ends waits until the shell is back, with an exit code of its last job, and the terminal shows what one types.
func (s *shell) ends(code string) {
	s.t.Helper()
	s.sees(prompt)
	s.runs(`echo co''de=${PIPESTATUS[*]}=; stty -a | grep -o ' echo '`)
	s.sees("code=" + code + "=\r\n echo ")
	s.sees(prompt)
}

// stops waits until the job has stopped, and the shell is back.
func (s *shell) stops() {
	s.t.Helper()
	s.sees("Stopped")
	s.sees(prompt)
	s.runs("echo ba''ck")
	s.sees("back\r\n")
	s.sees(prompt)
}

// hasStoppedJob tells whether the shell knows of a job that has stopped.
func (s *shell) hasStoppedJob() bool {
	s.t.Helper()
	from := s.read
	s.runs("jobs")
	s.sees(prompt)
	return strings.Contains(s.said.String()[from:s.read], "Stopped")
}

// continues continues the job with fg, and waits until it has the terminal.
func (s *shell) continues() {
	s.t.Helper()
	s.runs("fg")
	awaitSo(s.t, "the job has the terminal", func() bool { return s.foreground() != s.pid })
}

// foreground is the group that has the terminal.
func (s *shell) foreground() int {
	s.t.Helper()
	group, err := unix.IoctlGetInt(int(s.user.Fd()), unix.TIOCGPGRP)
	if err != nil {
		s.t.Fatal(err)
	}
	return group
}

// reader is a command that reads lines and says that it got them.
const reader = `sh -c 'while read line; do echo got:$line:; done; echo end of input'`

// gives types a line for a reader, and waits until it has read it.
func (s *shell) gives(line string) {
	s.t.Helper()
	s.types(line + "\n")
	s.sees("got:" + line + ":")
}

func TestACommandUnderALockReadsFromTheTerminalAndEndsByCtrlD(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	s.runs(`$E lock %sjob -- %s`, name, reader)
	s.gives("one")
	s.gives("two")
	s.types(ctrlD)
	s.sees("end of input")
	s.ends("0")
	entries(t, cli, name+"job", 0)
}

func TestCtrlCEndsTheCommandReleasesTheLockAndTheTerminalIsTheShells(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	for what, script := range map[string]string{
		"reads":                     reader,
		"does not read":             `sh -c 'echo got:zero:; exec sleep 300'`,
		"has switched off the echo": `sh -c 'stty -echo; echo got:zero:; read line'`,
	} {
		s.runs(`$E lock %sjob -- %s`, name, script)
		if script == reader {
			s.gives("one")
		} else {
			s.sees("got:zero:")
		}
		s.types(ctrlC)
		s.ends("130")
		entries(t, cli, name+"job", 0)
		t.Logf("a command that %s has ended", what)
	}
}

func TestCtrlCWhileTheLockIsWaitedForLeavesTheQueueAtOnce(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	startTicking(t, cli, name)
	s := startShell(t, cli)
	s.runs(`$E lock %s -- echo never`, name)
	entries(t, cli, name, 2)
	s.types(ctrlZ)
	s.stops()
	s.continues()
	entries(t, cli, name, 2)
	s.types(ctrlC)
	s.ends("130")
	entries(t, cli, name, 1)
}

func TestCtrlZStopsTheCommandAndTheWrapperAndFgContinuesBoth(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	k := ticker.New(t)
	for _, script := range []string{reader, `sh -c '` + strings.Join(k.Argv, " ") + `'`} {
		s.runs(`$E lock --ttl 60s %sjob -- %s`, name, script)
		if script == reader {
			s.gives("one")
		} else {
			awaitTick(t, k)
		}
		s.types(ctrlZ)
		s.stops()
		_, stopped := k.Ran()
		s.runs("bg")
		s.sees(prompt)
		if script == reader { // it reads, and so it stops again; an fg that comes in that moment can come before the stop
			awaitSo(t, "the job that reads stops in the background", s.hasStoppedJob)
		}
		s.continues()
		if script == reader {
			s.gives("two")
			s.types(ctrlC)
			s.ends("130")
			continue
		}
		awaitSo(t, "it runs again", func() bool { _, last := k.Ran(); return last > stopped })
		s.types("\x1c") // Ctrl-\, as it ignores SIGTERM
		s.ends("131")
	}
	entries(t, cli, name+"job", 0)
}

func TestAStopThatOutlastsTheLockEndsTheCommand(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	s := startShell(t, cli)
	k, next := ticker.New(t), ticker.New(t)
	s.runs(`$E lock --ttl 2s %s -- sh -c 'exec %s'`, name, strings.Join(k.Argv, " "))
	awaitTick(t, k)
	s.types(ctrlZ)
	s.stops()
	other := startLock(t, cli, append([]string{name, "--"}, next.Argv...)...)
	awaitTick(t, next)
	s.runs("fg") // it ends at once
	s.sees("ownership lost")
	s.ends("76")
	noOverlap(t, "the command that was stopped", k, next)
	_ = other.Process.Kill()
}

func TestInAPipelineTheOtherProgramsWork(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	s.runs(`$E lock %sjob -- %s | sh -c 'head -1; exec <&-; echo gone'`, name, reader)
	s.gives("one")
	s.sees("gone")
	s.types("two\n") // nothing reads the answer
	s.ends("141 0")
	s.runs(`echo three | $E lock %sjob -- %s | cat`, name, reader)
	s.sees("got:three:")
	s.ends("0 0 0")
	entries(t, cli, name+"job", 0)
}

func TestAWrapperInAWrapperHasTheTerminalToo(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	s.runs(`$E lock --ttl 60s %sa -- $E lock --ttl 60s %[1]sb -- %s`, name, reader)
	s.gives("one")
	s.types(ctrlZ)
	s.stops()
	s.continues()
	s.gives("two")
	s.types(ctrlC)
	s.ends("130")

	s.runs(`$E lock --ttl 60s %sa -- $E lock --ttl 60s %[1]sb -- sh -c 'echo got:zero:; exec sleep 300'`, name)
	s.sees("got:zero:")
	s.types(ctrlZ)
	s.stops()
	s.continues()
	s.types(ctrlC)
	s.ends("130")
	entries(t, cli, name+"b", 0)
	entries(t, cli, name+"a", 0)
}

func TestACommandThatHasTheTerminalAndStopsForItGoesOn(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	s.runs(`$E lock %sjob -- %s`, name, reader)
	s.gives("one")
	// It was continued twice before it had the terminal, say, and asked for it twice.
	if err := unix.Kill(-s.foreground(), unix.SIGTTIN); err != nil {
		t.Fatal(err)
	}
	s.gives("two")
	s.types(ctrlD)
	s.sees("end of input")
	s.ends("0")
}

func TestAShellUnderALockHasJobsOfItsOwnAndMaySuspendItself(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	s.runs(`PS1='inner> ' $E lock --ttl 60s %sjob -- bash --norc -i`, name)
	s.sees("inner> ")
	s.runs(reader)
	s.gives("one")
	s.types(ctrlZ)
	s.sees("Stopped")
	s.sees("inner> ")
	s.runs("suspend")
	s.stops()
	s.continues()
	s.sees("inner> ")
	s.runs("fg")
	s.gives("two")
	s.types(ctrlC)
	s.sees("inner> ")
	s.runs("exit 3")
	s.ends("3")
	entries(t, cli, name+"job", 0)
}

func TestARegistrationAtATerminalEndsByCtrlC(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	s := startShell(t, cli)
	listed := func() int64 {
		resp, err := cli.Get(t.Context(), "/services/"+name, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count
	}
	name = strings.Trim(strings.ReplaceAll(name, "/", "-"), "-")
	for _, command := range []string{"", " -- " + reader} {
		s.runs(`$E svc register %s --port 80 --ttl 60s --drain 0s%s`, name, command)
		s.sees("is registered at")
		if command != "" {
			s.gives("one")
		}
		s.types(ctrlZ)
		s.stops()
		if n := listed(); n != 1 {
			t.Errorf("%q: %d instances while it is stopped, want 1", command, n)
		}
		s.continues()
		code := "0"
		if command != "" {
			s.gives("two")
			code = "130"
		}
		s.types(ctrlC)
		s.ends(code)
		if n := listed(); n != 0 {
			t.Errorf("%q: %d instances are left", command, n)
		}
	}
}

func TestTheCommandOfDevRunHasTheTerminal(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	s := startShell(t, cli)
	pid := filepath.Join(t.TempDir(), "pid")
	s.runs(`$E dev run --members 1 --any-port -- sh -c 'echo $$ >%s; while read line; do echo got:$line:; done'`, pid)
	s.gives("one")
	s.types(ctrlZ)
	s.stops()
	s.continues()
	s.gives("two")
	s.types(ctrlC)
	s.ends("130")
	b, err := os.ReadFile(pid)
	var n int
	if _, e := fmt.Sscan(string(b), &n); err != nil || e != nil {
		t.Fatal(err, e)
	}
	if runs(n) {
		t.Error("the command runs on")
	}
}

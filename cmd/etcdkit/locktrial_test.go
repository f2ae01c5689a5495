package main

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
)

// locked is a command that runs under a lock, in a process of etcdctl or of ours.
type locked struct {
	*exec.Cmd
	t    *testing.T
	pid  chan int // of the command, once it runs
	gone chan int // the exit code of the process
}

// startLocked runs a command under a lock: args and then a program that lives until it is ended.
func startLocked(t *testing.T, dir string, args ...string) *locked {
	t.Helper()
	l := &locked{Cmd: etcdkit(t, dir, append(args, "--", "sh", "-c", "echo $$; exec sleep 600")...), t: t, pid: make(chan int, 1), gone: make(chan int, 1)}
	l.Stderr = os.Stderr
	read, write, err := os.Pipe() // which the command may hold open
	if err != nil {
		t.Fatal(err)
	}
	l.Stdout = write
	err = l.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{})
	go func() { // ends with the line, or with the pipe
		defer close(told)
		line, err := bufio.NewReader(read).ReadString('\n')
		if pid, e := strconv.Atoi(strings.TrimSpace(line)); err == nil && e == nil {
			l.pid <- pid
		}
	}()
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		_ = l.Wait() // its exit code says it
		l.gone <- l.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = l.Process.Kill() // it may have ended
		<-ended
		read.Close()
		<-told
	})
	return l
}

// runs waits until the command runs, and returns its process.
func (l *locked) runs(what string) int {
	l.t.Helper()
	select {
	case pid := <-l.pid:
		l.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		return pid
	case code := <-l.gone:
		l.t.Fatalf("%s ended with exit code %d, want it to run its command", what, code)
	case <-time.After(2 * time.Minute):
		l.t.Fatalf("%s does not run its command", what)
	}
	return 0
}

// The same trial for both: a command runs under a lock, the whole cluster stands still for longer than the TTL, and
// then another process asks for the lock.
func TestWhileTheClusterIsPausedEtcdctlLockHasTwoHoldersAndOursOne(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	theirs := startLocked(t, d.dir, "ctl", "lock", "--ttl", "2", "theirs")
	ours := startLocked(t, d.dir, "lock", "--ttl", "2s", "ours")
	theirPID, ourPID := theirs.runs("etcdctl lock"), ours.runs("etcdkit lock")

	if _, stderr, code := d.does(t, "pause", "all"); code != 0 {
		t.Fatalf("pause: %s", stderr)
	}
	select { // before etcd can have given the lock away: it stands still
	case code := <-ours.gone:
		if code != cli.ExitLost {
			t.Errorf("etcdkit lock ended with exit code %d, want %d", code, cli.ExitLost)
		}
	case <-time.After(time.Minute):
		t.Fatal("etcdkit lock runs on while nothing renews its lease")
	}
	if runs(ourPID) {
		t.Error("the command of etcdkit lock outlived the lock")
	}
	if _, stderr, code := d.does(t, "resume"); code != 0 {
		t.Fatalf("resume: %s", stderr)
	}

	startLocked(t, d.dir, "ctl", "lock", "--ttl", "2", "theirs").runs("the second etcdctl lock")
	if !runs(theirPID) {
		t.Error("void: the command of the first etcdctl lock has ended, and etcdctl is better than the docs say")
	}
	startLocked(t, d.dir, "lock", "--ttl", "2s", "ours").runs("the second etcdkit lock")
	if runs(ourPID) {
		t.Error("two commands of etcdkit lock run at the same time")
	}
}

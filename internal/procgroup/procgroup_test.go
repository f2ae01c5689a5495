//go:build unix

package procgroup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

// startPair starts a shell that has started another process. Both hold the returned pipe open, so it
// ends when both have ended.
func startPair(t *testing.T, ctx context.Context, setUp func(*exec.Cmd)) (cmd *exec.Cmd, ended <-chan struct{}) {
	t.Helper()
	cmd = exec.CommandContext(ctx, "sh", "-c", "sleep 300 & echo started; wait")
	setUp(cmd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { r.Close() })
	if _, err := io.ReadFull(r, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	all := make(chan struct{})
	go func() { // ends with the pipe
		defer close(all)
		_, _ = io.Copy(io.Discard, r)
	}()
	return cmd, all
}

func waitFor(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("a process of the group still runs")
	}
}

func TestASignalReachesAllThatTheCommandHasStarted(t *testing.T) {
	cmd, ended := startPair(t, t.Context(), procgroup.Own)
	if err := procgroup.Signal(cmd.Process, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ended)
	if err := cmd.Wait(); err == nil {
		t.Error("Wait: got no error, want that a signal ended it")
	}
}

func TestASignalToAGroupThatHasEndedIsAnError(t *testing.T) {
	cmd := exec.Command("true")
	procgroup.Own(cmd)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := procgroup.Signal(cmd.Process, syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v, want os.ErrProcessDone", err)
	}
}

func TestTheEndOfTheContextKillsAllThatTheCommandHasStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd, ended := startPair(t, ctx, procgroup.KillOnCancel)
	cancel()
	_ = cmd.Wait()
	waitFor(t, ended)
}

//go:build linux

package child_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

func TestStopReturnsTheSignalThatWasTakenBefore(t *testing.T) {
	signals := make(chan os.Signal, 1)
	waiting, stop := child.UntilSignal(t.Context(), signals)
	signals <- syscall.SIGTERM
	<-waiting.Done()
	for range 2 {
		var signal *child.SignalError
		if err := stop(); !errors.As(err, &signal) || signal.Code() != 128+15 {
			t.Errorf("got %v, want SIGTERM", err)
		}
	}
}

func TestStopReturnsNothingIfNoSignalCameAndLeavesTheNextToTheCommand(t *testing.T) {
	signals := make(chan os.Signal, 1)
	waiting, stop := child.UntilSignal(t.Context(), signals)
	if err := stop(); err != nil || waiting.Err() == nil {
		t.Errorf("got %v and %v, want nil and a context that has ended", err, waiting.Err())
	}
	signals <- syscall.SIGTERM
	if err := stop(); err != nil {
		t.Errorf("later: got %v", err)
	}
	if len(signals) != 1 {
		t.Error("the signal was taken after stop")
	}
}

func TestStopReturnsTheCauseOfTheContext(t *testing.T) {
	cause := errors.New("the reader went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting, stop := child.UntilSignal(ctx, nil)
	cancel(cause)
	<-waiting.Done()
	if err := stop(); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestRunTellsACommandThatWasNotStartedFromOneThatWasEnded(t *testing.T) {
	t.Parallel()
	s := supervise(t, time.Second)
	if r := wait(t, run(s, exec.Command("true"), holdFor(time.Second))); !errors.Is(r.err, child.ErrNotStarted) || !errors.Is(r.err, child.ErrEnded) {
		t.Errorf("no time is left: got %v, want ErrNotStarted", r.err)
	}
	s = supervise(t, time.Second)
	cmd := exec.Command("sh", "-c", `trap "exit 0" TERM; while :; do sleep 0.01; done`)
	if r := wait(t, run(s, cmd, holdFor(3*time.Second))); r.code != 0 || !errors.Is(r.err, child.ErrEnded) || errors.Is(r.err, child.ErrNotStarted) {
		t.Errorf("it exits with 0 when it is asked to end: got %d, %v, want 0 and ErrEnded", r.code, r.err)
	}
}

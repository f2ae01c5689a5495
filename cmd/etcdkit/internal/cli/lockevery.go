package cli

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/lock"
)

// everyPeriod runs the command unless a run of this period is complete. waiting ends with a signal, as long as
// stop has not been called, and with --timeout; stop is UntilSignal's.
func (r *lockRun) everyPeriod(ctx, waiting context.Context, stop func() error, cli *clientv3.Client, m *lock.Mutex) error {
	asking, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	stopWaiting := context.AfterFunc(waiting, func() { end(context.Cause(waiting)) })
	defer stopWaiting()
	ask := m.Every
	if r.flags.nonblock {
		ask = m.TryEvery
	}
	began := false
	run, err := ask(asking, r.flags.every, func(held context.Context, hold *lock.Hold) error {
		if !stopWaiting() { // the time was over, or a signal came, in this moment
			<-asking.Done()
			return context.Cause(asking)
		}
		if ended := stop(); ended != nil { // signals are for the command from now on
			return ended
		}
		began = true
		return r.completed(hold)
	})
	switch {
	case err == nil && !run.Here:
		r.a.out.Talkf("etcdkit: lock %q: not due: %s", r.name, run)
		return nil
	case err == nil || began:
		return notRecorded(err)
	case errors.Is(context.Cause(asking), errWaited):
		err = withHolder(ctx, cli, r.name, errWaited)
	}
	err = r.a.whyUnanswered(waiting, cli, err)
	return r.notAcquired(stop(), err)
}

// completed runs the command under a hold. nil says that the run is complete.
func (r *lockRun) completed(hold *lock.Hold) error {
	code, err := r.command(hold)
	switch {
	case errors.Is(err, child.ErrEnded):
		return r.lost(code, err, hold)
	case err != nil:
		return err
	case code != 0:
		return exitError(code)
	}
	return nil
}

// notRecorded is the error of a run whose command began. One that is not the command's says that the run is not
// recorded: another process will repeat it.
func notRecorded(err error) error {
	var with *codedError
	var exit exitError
	switch {
	case err == nil, errors.As(err, &with), errors.As(err, &exit):
		return err
	case errors.Is(err, lock.ErrLost):
		return coded(ExitLost, fmt.Errorf("%w (the command had ended by then, with exit code 0; its run does not count)", err))
	}
	return fmt.Errorf("%w (the command ended with exit code 0; its run may not count)", err)
}

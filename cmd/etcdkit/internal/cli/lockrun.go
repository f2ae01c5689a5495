package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lock"
)

// lockRun is one command under one lock.
type lockRun struct {
	a          *app
	flags      *lockFlags
	name       string
	cmd        *exec.Cmd
	supervisor *child.Supervisor
	signals    <-chan os.Signal
}

func (r *lockRun) run(ctx context.Context, cluster *place.Flags) error {
	waiting, stop := child.UntilSignal(ctx, r.signals)
	defer func() { _ = stop() }() // what it returns has been looked at, or something else went wrong
	waiting, cancel := r.flags.bounded(waiting)
	defer cancel()
	p, err := r.a.findForLock(waiting, r.flags, cluster)
	if err != nil {
		return r.notAcquired(stop(), err)
	}
	defer p.Close()
	l := r.flags.open(p.Client, r.name, &lock.SharedOptions{
		TTL: r.flags.ttl, Logger: r.a.logger(),
		Data: filepath.Base(r.cmd.Path), // and not its arguments, which may be secret
	})
	defer l.Close()
	if m, ok := l.Closer.(*lock.Mutex); ok && r.flags.every > 0 {
		return r.everyPeriod(ctx, waiting, stop, p.Client, m)
	}
	return r.once(ctx, waiting, stop, p.Client, l)
}

// once runs the command as soon as it has the lock. waiting ends with a signal, and with --timeout; stop is
// UntilSignal's.
func (r *lockRun) once(ctx, waiting context.Context, stop func() error, cli *clientv3.Client, l anyLock) error {
	hold, err := r.a.acquire(waiting, l, r.flags.nonblock)
	err = r.a.whyUnanswered(waiting, cli, withHolder(ctx, cli, r.name, err))
	ended := stop() // signals are for the command from now on
	if err != nil {
		return r.notAcquired(ended, err)
	}
	if ended != nil { // in the moment in which the lock was acquired
		if err := released(ctx, hold.Release); err != nil {
			r.sayNotReleased(err)
		}
		return r.notAcquired(ended, nil)
	}
	return r.held(ctx, hold)
}

// notAcquired is the error of a run that ends before its command. ended is what UntilSignal's stop returned.
func (r *lockRun) notAcquired(ended, err error) error {
	if ended != nil {
		return endedBefore(ended, err)
	}
	return notAcquired(err)
}

func (r *lockRun) sayNotReleased(err error) {
	r.a.out.Talkf("etcdkit: %s; it is free when its lease expires, within %v", errtext.Text(err), r.flags.ttl)
}

// held runs the command, and then releases the lock. The error is the command's exit code.
func (r *lockRun) held(ctx context.Context, hold *lock.Hold) error {
	code, err := r.command(hold)
	notReleased := released(ctx, hold.Release)
	switch {
	case errors.Is(err, child.ErrEnded):
		return r.lost(code, err, hold)
	case err != nil:
		return err
	case errors.Is(notReleased, lock.ErrLost):
		return coded(ExitLost, fmt.Errorf("%w (the command had ended by then, with exit code %d)", notReleased, code))
	case notReleased != nil:
		r.sayNotReleased(notReleased)
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// lost is the error of a command that was ended because of the lock. ended is Supervisor.Run's error.
func (r *lockRun) lost(code int, ended error, hold *lock.Hold) error {
	return coded(ExitLost, endedByLoss(r.what(), hold.Err(), lock.ErrLost, code, ended))
}

// command runs the command under a hold, and returns its exit code. The error is Supervisor.Run's, or has an exit
// code.
func (r *lockRun) command(hold *lock.Hold) (code int, err error) {
	return r.a.runHeld(r.what(), r.supervisor, r.cmd, hold, r.signals, lockEnviron(hold))
}

func (r *lockRun) what() string { return fmt.Sprintf("lock %q", r.name) }

// lockEnviron are the variables that a command under a lock has besides. The first two are those of etcdctl lock.
// After a wait its revision is a later one, that of the answer which said that the queue is empty before it. The token
// grows with each holder as well, and Guard compares it.
func lockEnviron(hold *lock.Hold) []string {
	token := strconv.FormatInt(hold.Token(), 10)
	return []string{
		"ETCD_LOCK_KEY=" + hold.Key(), "ETCD_LOCK_REV=" + token,
		"ETCDKIT_TOKEN=" + token, "ETCDKIT_LEASE=" + out.Hex(int64(hold.Lease())),
	}
}

package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// defaultNotice is many times what a consumer needs to see a change, also a busy one.
const defaultNotice = time.Second

// announceTimeout bounds the wait until etcd has that an instance is draining: longer than an election
// of etcd's takes, and so short that finish has its time.
const announceTimeout = 5 * time.Second

// Leave is the graceful exit in one call. In this order:
//
//  1. It says draining, so that consumers send nothing new, and waits until etcd has that, for 5 s at
//     most. A Raw value has no room for it: its key is deleted instead.
//  2. It waits Options.LeaveNotice, so that every consumer has seen it.
//  3. It calls finish, which finishes the requests that the instance has, as (*http.Server).Shutdown
//     does. nil is allowed.
//  4. It withdraws the instance, as Shutdown does.
//
// No step is left out because an earlier one failed, and the error has all of theirs; errors.Is and
// errors.As find each. While etcd is away finish is called 5 s and a notice later at the latest, and the
// error says that the key is still in etcd, and until when.
//
// ctx bounds all of it, and finish gets it. When it ends Leave goes on without waiting: finish is
// called, and the key is deleted within Close's bound of 2 s. The ctx of a signal has ended when it is
// time to leave, so give another one:
//
//	<-ctx.Done()
//	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
//	defer cancel()
//	err := reg.Leave(leaving, server.Shutdown)
//
// Only the first call does this. The others wait for it and return its error, or return when their ctx
// ends. After Close there is nothing to announce: finish is called at once.
func (g *Registration) Leave(ctx context.Context, finish func(context.Context) error) error {
	return g.leaveOnce.do(ctx, "leave "+g.entry.key, func() error {
		return g.registrar.leaveGracefully(ctx, []*entry{g.entry}, finish, g.Shutdown)
	})
}

// Leave is Registration.Leave for all instances of the Registrar, with one notice and one finish for
// all; then the Registrar is closed. An instance that is registered meanwhile is closed without notice.
func (r *Registrar) Leave(ctx context.Context, finish func(context.Context) error) error {
	return r.leaveOnce.do(ctx, "leave", func() error {
		return r.leaveGracefully(ctx, r.table.all(), finish, r.Shutdown)
	})
}

func (r *Registrar) leaveGracefully(ctx context.Context, all []*entry, finish, withdraw func(context.Context) error) error {
	noticeDue, err := r.announce(ctx, all)
	if noticeDue && r.notice > 0 {
		select {
		case <-time.After(r.notice):
		case <-ctx.Done():
		}
	}
	if finish != nil {
		err = joinErrors(err, finish(ctx))
	}
	ctx, done := r.withdrawContext(ctx)
	defer done()
	return joinErrors(err, withdraw(ctx))
}

// withdrawContext ends when ctx has ended, and Close's bound after that: finish may have left no time.
func (r *Registrar) withdrawContext(ctx context.Context) (_ context.Context, done func()) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		closing, done := r.table.etcd.ClosingContext(longer)
		defer done()
		<-closing.Done()
		cancel(context.Cause(closing))
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}

// announce tells consumers to send nothing new. noticeDue is false if all instances were withdrawn before:
// otherwise consumers get their notice, also where an answer of etcd's is missing.
func (r *Registrar) announce(ctx context.Context, all []*entry) (noticeDue bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	raw, errs := make([]bool, len(all)), make([]error, len(all))
	var proposing sync.WaitGroup // together, as each waits for an Update that is under way
	for n, e := range all {
		proposing.Go(func() {
			errs[n] = r.propose(ctx, e, func(i *Instance) {
				if raw[n] = i.Raw != ""; i.Status != Draining {
					i.drain(leavingReason)
				}
			})
		})
	}
	proposing.Wait()
	var raws []*entry
	for n, e := range all {
		if raw[n] && errs[n] == nil {
			raws = append(raws, e)
		}
	}
	r.checks.stop(raws...)
	r.table.startWithdraw(raws...)
	var notDraining []string
	for n, e := range all {
		if errs[n] == nil {
			wait := r.table.waitStored
			if raw[n] {
				wait = r.table.waitGone
			}
			errs[n] = wait(ctx, e)
		}
		if errors.Is(errs[n], ErrClosed) { // withdrawing it again says more
			continue
		}
		noticeDue = true
		if errs[n] != nil {
			notDraining = append(notDraining, e.key)
			err = cmp.Or(err, errs[n])
		}
	}
	if err != nil {
		slices.Sort(notDraining)
		err = errtext.Errorf("registry: set the status draining of %s: %w", quote.Joined(notDraining, 5), err)
	}
	return noticeDue, err
}

// joinErrors is both errors as one, of which either may be nil, on one line.
func joinErrors(err, other error) error {
	if err == nil || other == nil {
		return errors.Join(err, other)
	}
	return errtext.Errorf("%w; %w", err, other)
}

package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/registry"
)

const (
	// firstDial is the first pause between two looks at a port that does not answer yet, and mostDial the longest.
	firstDial, mostDial = 20 * time.Millisecond, time.Second
)

// serviceRun is one run of svc register.
type serviceRun struct {
	app       *app
	flags     *place.Flags
	cmd       *exec.Cmd // nil: there is none
	instance  registry.Instance
	opts      registry.Options
	awaitPort bool
	killGrace time.Duration
	signals   <-chan os.Signal

	process *child.Process // of cmd

	life   context.Context // of the registration
	end    context.CancelFunc
	failed chan error // why it cannot be registered, however long one waits
	wg     sync.WaitGroup

	// These are set by the goroutine that registers, and read when it has ended.
	place     *place.Place
	registrar *registry.Registrar
}

// run runs the command and keeps the instance. A signal ends it before the command is there.
func (w *serviceRun) run(ctx context.Context) error {
	w.life, w.end = context.WithCancel(context.WithoutCancel(ctx))
	w.failed = make(chan error, 1)
	defer w.end()
	waiting, stop := child.UntilSignal(ctx, w.signals)
	p, err := w.app.findAndSay(waiting, w.flags)
	ended := stop() // from now on follow reads the signals
	switch {
	case ended != nil:
		if p != nil {
			p.Close()
		}
		return endedBefore(ended, err)
	case err == nil:
		w.place = p
	case errors.Is(err, client.ErrUnreachable):
		w.app.out.Talkf("etcdkit: %s; %s is registered when etcd is there", w.app.oneLine(err), w.name())
	default:
		return unreachable(err)
	}
	if w.cmd != nil {
		if w.process, err = child.Start(w.cmd); err != nil {
			if w.place != nil {
				w.place.Close()
			}
			return w.app.cannotRun(err)
		}
	}
	w.wg.Go(w.register) // ends with w.end, or when it is registered
	err = w.follow()
	w.withdraw()
	if w.process == nil {
		return err
	}
	<-w.process.Done()
	if code := w.process.Code(); err == nil && code != 0 {
		return exitError(code)
	}
	return err
}

// ended is closed when the command has ended. Without a command it never is.
func (w *serviceRun) ended() <-chan struct{} {
	if w.process == nil {
		return nil
	}
	return w.process.Ended()
}

// follow returns when the command has ended, or when it is time for the instance to go. A command whose instance cannot
// be registered is asked to end, and a signal that asks for an end kills it then.
func (w *serviceRun) follow() (failed error) {
	for {
		select {
		case <-w.ended():
			return failed
		case err := <-w.failed:
			failed = unreachable(serviceError(err))
			if w.process == nil {
				return failed
			}
			w.process.Stop(w.killGrace)
		case s := <-w.signals:
			switch {
			case failed != nil && w.asksToLeave(s):
				w.process.Stop(0)
			case w.asksToLeave(s):
				w.leave(s)
				return nil
			case w.process != nil:
				_ = w.process.Signal(s) // it may have ended: that is the next event
			case child.Stops(s):
				child.Suspend() // if that outlasts the TTL, the instance registers again
			}
		}
	}
}

// asksToLeave tells whether a signal ends the registration. The others are the command's.
func (w *serviceRun) asksToLeave(s os.Signal) bool {
	if w.process == nil {
		return child.AsksToEnd(s) || s == syscall.SIGHUP
	}
	return child.AsksToEnd(s) && s != syscall.SIGQUIT // which many a server answers with its stacks
}

// leave says draining, waits, passes the signal on, and withdraws the instance when the command has ended. A
// second signal kills the command.
func (w *serviceRun) leave(s os.Signal) {
	w.end() // what has not registered yet does not any more
	w.wg.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var following sync.WaitGroup
	defer following.Wait()
	left := make(chan struct{})
	defer close(left)
	following.Go(func() { w.hurry(cancel, left) })
	finish := func(context.Context) error { w.finish(s); return nil }
	if w.registrar == nil {
		w.finish(s)
		return
	}
	w.app.say("%s is draining; %s in %v", w.name(), w.next(), max(0, w.opts.LeaveNotice))
	if err := w.registrar.Leave(ctx, finish); err != nil && ctx.Err() == nil { // otherwise Close says what is left
		w.app.out.Talkf("etcdkit: %s", w.app.oneLine(err)) // the command has ended: that is what counts
	}
}

// name is the instance, for people.
func (w *serviceRun) name() string {
	return out.Safe(w.instance.Service) + "/" + out.Safe(w.instance.ID)
}

// next is what happens after the notice to consumers.
func (w *serviceRun) next() string {
	if w.process == nil {
		return "it leaves"
	}
	return "the command gets the signal"
}

// hurry passes signals on while the instance leaves. It ends the wait of consumers' notice when the command has
// ended or a second signal has come.
func (w *serviceRun) hurry(cancel context.CancelFunc, left <-chan struct{}) {
	ended := w.ended()
	for {
		select {
		case <-ended:
			cancel()
			ended = nil
		case s := <-w.signals:
			if w.asksToLeave(s) {
				cancel()
			}
			switch {
			case w.process == nil:
			case w.asksToLeave(s):
				w.process.Stop(0)
			default:
				_ = w.process.Signal(s)
			}
		case <-left:
			return
		}
	}
}

// finish passes the signal to the command and returns when it has ended.
func (w *serviceRun) finish(s os.Signal) {
	if w.process == nil {
		return
	}
	_ = w.process.Signal(s) // it may have ended
	grace := time.NewTimer(w.killGrace)
	defer grace.Stop()
	select {
	case <-w.ended():
	case <-grace.C:
		w.app.out.Talkf("etcdkit: the command has not ended within %v of %v: it is killed", w.killGrace, s)
		w.process.Stop(0)
		<-w.ended()
	}
}

// withdraw ends the registration, if leave has not done so, and the connection.
func (w *serviceRun) withdraw() {
	w.end()
	w.wg.Wait()
	if w.registrar != nil {
		if err := w.registrar.Close(); err != nil {
			w.app.out.Talkf("etcdkit: %s", w.app.oneLine(err))
		} else {
			w.app.say("%s is no longer registered", w.name())
		}
	}
	if w.place != nil {
		w.place.Close()
	}
}

// register connects, waits until the instance can serve, and registers it. It ends with life.
func (w *serviceRun) register() {
	if w.awaitPort || w.opts.AwaitServing {
		w.app.say("%s is registered as soon as it can serve", w.name())
	}
	err := w.connect()
	if err == nil && w.awaitPort {
		w.waitForPort()
	}
	if err == nil && w.life.Err() == nil {
		err = w.registerNow()
	}
	if err != nil && w.life.Err() == nil {
		w.failed <- err
	}
}

// connect reaches the cluster, however long that takes. That it is away has been said.
func (w *serviceRun) connect() (err error) {
	if w.place == nil {
		w.place, err = w.app.reach(w.life, w.flags, func(error) {})
	}
	return err
}

// waitForPort returns when the instance accepts a connection, or life has ended.
func (w *serviceRun) waitForPort() {
	var d net.Dialer
	for pause := firstDial; w.life.Err() == nil; pause = min(2*pause, mostDial) {
		ctx, cancel := context.WithTimeout(w.life, mostDial)
		conn, err := d.DialContext(ctx, "tcp", w.instance.Addr)
		cancel()
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-time.After(pause):
		case <-w.life.Done():
		}
	}
}

func (w *serviceRun) registerNow() (err error) {
	if w.registrar, err = registry.New(w.place.Client, &w.opts); err != nil {
		return err
	}
	regs, err := w.registrar.Register(w.life, w.instance)
	switch {
	case err != nil && w.life.Err() != nil: // it may be registered, and leaves in order
		return err
	case err != nil:
		_ = w.registrar.Close() // there is nothing to withdraw, and the error is what counts
		w.registrar = nil
		return err
	}
	status := regs[0].State().Status
	w.app.say("%s is registered at %s: %s", w.name(), out.Safe(w.instance.Addr), status)
	return nil
}

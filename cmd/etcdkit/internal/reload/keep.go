package reload

import (
	"os"
	"os/exec"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

// Keeper is a command that runs on, and learns of changes by a signal or by being started again. One goroutine uses it:
//
//	select {
//	case <-changes:
//		k.Changed()
//	case s := <-signals:
//		k.Forward(s)
//	case <-k.Ended():
//		code, again, err := k.Next()
//	}
type Keeper struct {
	Policy  Policy
	Grace   time.Duration             // between SIGTERM and SIGKILL
	Command func() (*exec.Cmd, error) // makes the command of each start

	process    *child.Process
	restarting bool
	ending     *time.Timer // kills it; nil unless it was asked to end for good
}

// Start starts the command.
func (k *Keeper) Start() error {
	cmd, err := k.Command()
	if err != nil {
		return err
	}
	k.restarting = false
	k.process, err = child.Start(cmd)
	return err
}

// Running tells whether the command has been started.
func (k *Keeper) Running() bool { return k.process != nil }

// Changed tells the command of a change, as Policy says. A restart goes on in Next.
func (k *Keeper) Changed() {
	if k.process == nil || k.ending != nil {
		return
	}
	switch k.Policy.What {
	case Signal:
		_ = k.process.Signal(k.Policy.Signal) // one that has just ended: Next is due
	case Restart:
		k.restarting = true
		k.process.Stop(k.Grace)
	}
}

// Forward passes a signal on. One that asks for an end ends the command for good: it is killed after Grace, and at once
// by a second one.
func (k *Keeper) Forward(s os.Signal) {
	switch {
	case k.process == nil:
	case !child.AsksToEnd(s):
		_ = k.process.Signal(s)
	case k.ending != nil:
		k.process.Stop(0)
	default:
		_ = k.process.Signal(s)
		p := k.process
		k.ending = time.AfterFunc(k.Grace, func() { p.Stop(0) }) // Next stops it
	}
}

// Ended is closed when the command has ended; nil before Start.
func (k *Keeper) Ended() <-chan struct{} {
	if k.process == nil {
		return nil
	}
	return k.process.Done()
}

// Next starts the command again if Changed has ended it. Otherwise again is false, and code is its exit code.
func (k *Keeper) Next() (code int, again bool, err error) {
	if k.restarting && k.ending == nil {
		return 0, true, k.Start()
	}
	if k.ending != nil {
		k.ending.Stop()
	}
	return k.process.Code(), false, nil
}

package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
)

// Job runs a command when something changes.
type Job struct {
	Source *Source
	reload.Wrapped

	// Of reload.Run only.
	Initial     bool // runs once at the start, with what there is
	Once        bool // ends with the first run, and has its exit code
	ExitOnError bool // ends with the first run that fails, and has its exit code
}

// Run runs the command until a signal ends it, or the source ends, or the command does where it runs on. code is then
// the command's. The error is a *child.SignalError if a signal asked for the end and there is no such code.
func (j *Job) Run(ctx context.Context) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pump{batches: make(chan Batch)}
	go p.run(ctx, j.Source) // ends with ctx, or with the source
	defer func() {
		cancel()
		for range p.batches { // until it has ended
		}
	}()
	if j.Policy.What == reload.Run {
		return j.runAtChanges(ctx, p)
	}
	return j.keep(p)
}

// pump takes batches from a source.
type pump struct {
	batches chan Batch
	err     error // why there are no more, once batches is closed
}

func (p *pump) run(ctx context.Context, s *Source) {
	defer close(p.batches)
	for b, err := range s.Batches(ctx) {
		if p.err = err; err != nil {
			return
		}
		select {
		case p.batches <- b:
		case <-ctx.Done():
			p.err = context.Cause(ctx)
			return
		}
	}
}

// ending is how a run of the command ended.
type ending struct {
	code int
	err  error
}

// runAtChanges runs the command once for all that has changed since it was run last.
func (j *Job) runAtChanges(ctx context.Context, p *pump) (int, error) {
	var pending Pending
	pause := reload.NewGatherer(j.Pause)
	due := j.Initial
	if due {
		pending.Add(j.Source.Present())
	}
	signals := make(chan os.Signal, cap(j.Signals)+1) // for the run that goes on
	ended := make(chan ending, 1)
	running := false
	var interrupted *child.SignalError // the first signal that asked for the end
	defer func() {
		if running {
			signals <- os.Interrupt
			<-ended
		}
	}()
	for {
		if due && !running && interrupted == nil {
			due = false
			pause.Stop()
			if b := pending.Take(); len(b.Changes) > 0 || b.Reason == Initial {
				running = true
				go func() { ended <- j.runOnce(ctx, b, signals) }() // ends with the command
			}
		}
		select {
		case b, ok := <-p.batches:
			if !ok {
				return 0, p.err
			}
			pending.Add(b)
			pause.Changed()
		case <-pause.C():
			due = true
		case s := <-j.Signals:
			if interrupted == nil && child.AsksToEnd(s) {
				interrupted = child.EndedBy(s)
			}
			switch {
			case running:
				select {
				case signals <- s:
				default: // so many that it makes no difference
				}
			case interrupted != nil:
				return 0, interrupted
			}
		case e := <-ended:
			running = false
			var signal *child.SignalError
			switch {
			case interrupted != nil && !errors.As(e.err, &signal):
				return 0, errors.Join(e.err, interrupted)
			case e.err != nil:
				return 0, e.err
			}
			if e.code != 0 && !j.Once {
				j.Say("%s: exit code %d", j.Args[0], e.code)
			}
			if j.Once || j.ExitOnError && e.code != 0 {
				return e.code, nil
			}
		}
	}
}

// runOnce runs the command for one batch, which it reads on its stdin.
func (j *Job) runOnce(ctx context.Context, b Batch, signals <-chan os.Signal) ending {
	text, err := json.Marshal(NewDocument(b))
	if err != nil {
		return ending{0, err}
	}
	cmd, err := j.command(&b)
	if err != nil {
		return ending{0, err}
	}
	cmd.Stdin = bytes.NewReader(append(text, '\n')) // a command that does not read it is fine
	code, err := reload.RunToEnd(context.WithoutCancel(ctx), cmd, signals, j.Grace)
	return ending{code, err}
}

// command makes the command; b is what it is told, or nil.
func (j *Job) command(b *Batch) (*exec.Cmd, error) {
	environ, leftOut := Environ(os.Environ(), b)
	if len(leftOut) > 0 {
		j.Say("%s", strings.Join(leftOut, "; "))
	}
	return j.Cmd(environ)
}

// keep runs a command that runs on.
func (j *Job) keep(p *pump) (int, error) {
	var pending Pending
	var last *Batch // what the command is told at its next start
	pause := reload.NewGatherer(j.Pause)
	k := j.Keeper(func() (*exec.Cmd, error) { return j.command(last) })
	if err := k.Start(); err != nil {
		return 0, err
	}
	batches := p.batches
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				j.Say("the watch has ended, and %s runs on: %v", j.Args[0], p.err)
				batches = nil
				continue
			}
			pending.Add(b)
			pause.Changed()
		case <-pause.C():
			pause.Stop()
			if b := pending.Take(); len(b.Changes) > 0 {
				last = &b
				k.Changed()
			}
		case s := <-j.Signals:
			k.Forward(s)
		case <-k.Ended():
			if code, again, err := k.Next(); !again || err != nil {
				return code, err
			}
		}
	}
}

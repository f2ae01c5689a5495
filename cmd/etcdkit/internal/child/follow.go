//go:build unix

package child

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Run runs the command while it is held, and passes signals on. It returns when the command's group has ended,
// with the command's exit code. Call it once.
//
// The error is a *CannotRunError; or ErrEnded when the supervisor ended the command because ownership was lost or
// about to be, and ErrNotStarted, which is an ErrEnded, when it did not start it; or ErrSupervisor.
//
// When held is Done, the command gets SIGTERM at once, and SIGKILL after the grace. When held is not
// renewed, it gets SIGTERM so early that the grace ends before the deadline. The group never lives on after the
// last deadline that the supervisor was told.
func (s *Supervisor) Run(cmd *exec.Cmd, held Held, signals <-chan os.Signal) (code int, err error) {
	f := &follower{s: s, held: held, tty: openTerminal()}
	defer f.tty.close()
	code, err = f.run(cmd, signals)
	f.tty.ended(code)
	return code, err
}

// run starts the command, and returns when its group has ended.
func (f *follower) run(cmd *exec.Cmd, signals <-chan os.Signal) (code int, err error) {
	s := f.s
	if !f.awaitTime() {
		return 0, ErrNotStarted
	}
	s.send(order{Start: &spec{Path: cmd.Path, Args: cmd.Args, Env: cmd.Environ(), Dir: cmd.Dir, Deadline: f.deadline, Grace: s.grace}})
	next := time.NewTimer(f.pause())
	defer next.Stop()
	for done := f.held.Done(); ; {
		select {
		case r, ok := <-s.reports:
			if !ok {
				return f.orphaned()
			}
			if ended, code, err := f.note(r); ended {
				return code, err
			}
		case sig := <-signals:
			if number, ok := sig.(syscall.Signal); ok {
				f.tty.passes(number)
				s.send(order{Signal: int(number)})
			}
		case <-done:
			done = nil
			s.send(order{End: true})
		case <-next.C:
			f.follow()
			next.Reset(f.pause())
		}
	}
}

// follower tells the supervisor when what is held was renewed.
type follower struct {
	s        *Supervisor
	held     Held
	tty      *terminal
	deadline time.Duration // as the supervisor knows it
	pid      int           // of the command; 0: not started
}

// awaitTime waits until the deadline leaves time for the command: on a busy machine a short lease may be old before
// it can start, and the next renewal is under way. It returns false when what is held has ended.
func (f *follower) awaitTime() bool {
	for {
		f.deadline = f.read()
		switch now := bootTime(); {
		case now < f.deadline-killLead-f.s.grace:
			return true
		case now >= f.deadline:
			return false
		}
		select {
		case <-time.After(leastPause):
		case <-f.held.Done():
			return false
		}
	}
}

// read returns the deadline on bootTime. It is never later than the real one: the clock is read first.
func (f *follower) read() time.Duration {
	now := bootTime()
	return now + time.Until(f.held.Deadline())
}

// Bounds of pause. Reading a deadline costs a microsecond.
const leastPause, mostPause = 10 * time.Millisecond, time.Second

// pause is the time until the deadline is read again: a part of what is left until the supervisor acts.
func (f *follower) pause() time.Duration {
	left := f.deadline - killLead - f.s.grace - bootTime()
	return min(max(left/4, leastPause), mostPause)
}

// follow tells the supervisor of a later deadline. At the end of the one that it knows the group must have
// ended: should it live, because the supervisor is stopped, then it is killed from here.
func (f *follower) follow() {
	if deadline := f.read(); deadline > f.deadline+time.Millisecond {
		f.deadline = deadline
		f.s.send(order{Deadline: deadline})
		return
	}
	now := bootTime()
	if f.pid != 0 && now >= f.deadline-enforceLead {
		_ = syscall.Kill(-f.pid, syscall.SIGKILL)
	}
	if now >= f.deadline+supervisorLate {
		_ = f.s.process.Process.Kill() // it is stopped; reports ends with it
	}
}

// supervisorLate is how long after the deadline the supervisor may report the end of the command.
const supervisorLate = time.Second

// note takes a report. ended says that it is the last one.
func (f *follower) note(r report) (ended bool, code int, err error) {
	switch {
	case r.Started != 0:
		f.pid = r.Started
	case r.Stopped != 0:
		f.tty.stopped(syscall.Signal(r.Stopped), f.pid, func() { f.s.send(order{Signal: int(syscall.SIGCONT)}) })
	case r.Refused != nil && r.Refused.Late:
		return true, 0, ErrNotStarted
	case r.Refused != nil:
		return true, 0, &CannotRunError{r.Refused.Code, errors.New(r.Refused.Text)}
	case r.Exited != nil && r.Exited.Ended:
		return true, r.Exited.Code, ErrEnded
	case r.Exited != nil:
		return true, r.Exited.Code, nil
	}
	return false, 0, nil
}

// orphaned ends the command after the supervisor was killed.
func (f *follower) orphaned() (int, error) {
	if f.pid == 0 {
		return 0, ErrSupervisor
	}
	// Its file is closed before its children become this process's: only its end says that they are.
	_ = f.s.process.Process.Kill()
	_ = f.s.process.Wait()
	p, err := adopt(f.pid, f.s.grace)
	if err != nil {
		return 0, ErrSupervisor
	}
	left := f.deadline - killLead - bootTime()
	p.Stop(min(f.s.grace, left))
	<-p.Done()
	if left <= 0 {
		return p.Code(), ErrEnded
	}
	return p.Code(), ErrSupervisor
}

//go:build unix

package child

import (
	"encoding/gob"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// supervisorArg makes this program a supervisor.
const supervisorArg = "etcdkit-supervisor"

// canSupervise says that main called RunSupervisor.
var canSupervise atomic.Bool

// RunSupervisor becomes a supervisor, in a process that Supervise started to be one, and then does not
// return. Call it first in main, and in TestMain of tests that call Supervise.
func RunSupervisor() {
	if len(os.Args) < 3 || os.Args[1] != supervisorArg {
		canSupervise.Store(true)
		return
	}
	fd, err := strconv.Atoi(os.Args[2])
	if err != nil {
		os.Exit(CodeCannotRun)
	}
	nameProcess()
	syscall.CloseOnExec(fd)
	s := &supervisor{stops: make(chan syscall.Signal, 1), out: gob.NewEncoder(os.NewFile(uintptr(fd), "wrapper"))}
	if s.alarm, err = newAlarm(); err != nil {
		os.Exit(CodeCannotRun)
	}
	// What asks the wrapper to end is the wrapper's business, and a stop would hold up the deadline. The
	// signals are caught, not ignored: an ignored one would be ignored by the command as well.
	signal.Notify(make(chan os.Signal, 1), append(forwarded(), syscall.SIGTTIN, syscall.SIGTTOU)...)
	adoptOrphans()
	runtime.LockOSThread() // see endWithParent
	s.run(os.NewFile(uintptr(fd), "wrapper"))
	os.Exit(0)
}

// supervisor starts the command and ends it by the deadline. It has no connection to etcd: what it knows is the
// last deadline that the wrapper told it.
type supervisor struct {
	out   *gob.Encoder
	alarm *alarm
	stops chan syscall.Signal // that stopped the command
	p     *Process            // nil: it has not started

	grace    time.Duration
	deadline time.Duration
	killAt   time.Duration // once it is being ended
	ending   bool
}

func (s *supervisor) run(from *os.File) {
	orders := make(chan order)
	go func() { // lives as long as the process
		defer close(orders)
		for in := gob.NewDecoder(from); ; {
			var o order
			if in.Decode(&o) != nil {
				return
			}
			orders <- o
		}
	}()
	var done <-chan struct{}
	for {
		select {
		case o, ok := <-orders:
			switch {
			case ok:
				s.obey(o)
			case s.p == nil:
				return
			default: // the wrapper was killed: nothing renews the lock, or releases it
				orders = nil
				s.end()
			}
			if s.p == nil && o.Start != nil {
				return // refused
			}
			if s.p != nil {
				done = s.p.Done()
			}
		case by := <-s.stops:
			s.tell(report{Stopped: int(by)})
		case <-s.alarm.fired:
			s.check()
		case <-done:
			s.tell(report{Exited: &exit{s.p.Code(), s.ending}})
			return
		}
	}
}

// tell sends a report. If the wrapper is gone there is nothing to tell it.
func (s *supervisor) tell(r report) { _ = s.out.Encode(r) }

func (s *supervisor) obey(o order) {
	switch {
	case o.Start != nil:
		s.start(o.Start)
	case s.p == nil:
	case o.Deadline > s.deadline:
		s.deadline = o.Deadline
		s.check()
	case o.End:
		s.end()
	case syscall.Signal(o.Signal) == syscall.SIGCONT:
		// One that is stopped goes on only if there is time for it. At the end it is continued once, so that it
		// can end by itself, and killed before the deadline.
		if !s.ending && bootTime() < s.termAt() {
			_ = s.p.Signal(syscall.SIGCONT)
		}
	case o.Signal != 0:
		_ = s.p.Signal(syscall.Signal(o.Signal))
	}
}

// termAt is when the command is asked to end, if the deadline stays what it is.
func (s *supervisor) termAt() time.Duration { return s.deadline - killLead - s.grace }

func (s *supervisor) start(c *spec) {
	s.deadline, s.grace = c.Deadline, c.Grace
	if bootTime() >= s.termAt() {
		s.tell(report{Refused: &refusal{Late: true}})
		return
	}
	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	p, err := start(cmd, settings{
		ownGroup: true, supervised: true, restGrace: c.Grace,
		stopped: func(by syscall.Signal) { s.stops <- by },
	})
	if err != nil {
		cannot := cannotRun(err)
		s.tell(report{Refused: &refusal{Code: cannot.Code, Text: cannot.Error()}})
		return
	}
	s.p = p
	s.tell(report{Started: p.Pid()})
	s.check()
}

// check does what the deadline asks for at this time, and sets the alarm for the next.
func (s *supervisor) check() {
	now := bootTime()
	if !s.ending && now >= s.termAt() {
		s.end()
		return
	}
	switch {
	case !s.ending:
		s.alarm.set(s.termAt())
	case now < s.killAt:
		s.alarm.set(s.killAt)
	default:
		_ = s.p.Signal(os.Kill)
	}
}

// end asks the group to end, and has it killed after the grace, and before the deadline in any case.
func (s *supervisor) end() {
	if s.ending {
		return
	}
	s.ending = true
	s.killAt = min(bootTime()+s.grace, s.deadline-killLead)
	if s.grace > 0 {
		_ = s.p.Signal(terminate)
		_ = s.p.Signal(resume)
	}
	s.check()
}

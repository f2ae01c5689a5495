//go:build unix

package child

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

// ErrEnded: the command was ended, or not started, as ownership was lost or about to be.
var ErrEnded = errors.New("the command was ended before ownership was lost")

// ErrNotStarted is the ErrEnded of a command that was not started.
var ErrNotStarted = fmt.Errorf("%w: it was not started", ErrEnded)

// ErrSupervisor: the supervisor ended before the command, which was ended then.
var ErrSupervisor = errors.New("the supervisor of the command has ended")

// Held is what the command may not outlive: a hold of a lock, or a term of office.
type Held interface {
	// Deadline is when it ends if nothing renews it from now on.
	Deadline() time.Time
	// Done is closed when it has ended.
	Done() <-chan struct{}
}

// Supervisor is a process of this program that runs one command, and ends it in time when ownership is lost: also
// when the process that started it, the wrapper, is killed or stopped. The wrapper tells it deadlines, and it
// ends the command's group by the last one that it was told.
//
// A wrapper whose supervisor is killed ends the command itself. When both are killed or stopped, nothing ends the command:
// then the fencing token is what protects.
type Supervisor struct {
	process *exec.Cmd
	conn    *os.File
	out     *gob.Encoder
	reports chan report // closed when the supervisor has ended
	grace   time.Duration
}

// SuperviseOptions of Supervise. nil and the zero value are the defaults.
type SuperviseOptions struct {
	// Grace is the time between SIGTERM and SIGKILL. 0: SIGKILL at once.
	Grace time.Duration

	Stdin          io.Reader // of the command; nil: none
	Stdout, Stderr io.Writer
}

// firstFD is the least number of the supervisor's file that leads to the wrapper. The lower ones may be files
// that the shell opened for the command.
const firstFD = 100

// Supervise starts a supervisor. Start it before ownership: then the command starts with one fork. Close it in
// any case.
func Supervise(opts *SuperviseOptions) (*Supervisor, error) {
	if !canSupervise.Load() {
		return nil, errors.New("this program does not call child.RunSupervisor first in main")
	}
	var o SuperviseOptions
	if opts != nil {
		o = *opts
	}
	exe, err := executable()
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	defer unix.Close(theirs)
	adoptOrphans()
	s := &Supervisor{conn: ours, out: gob.NewEncoder(ours), reports: make(chan report, 8), grace: o.Grace}
	s.process = exec.Command(exe)
	s.process.Args = []string{os.Args[0], supervisorArg, strconv.Itoa(theirs)}
	s.process.Stdin, s.process.Stdout, s.process.Stderr = o.Stdin, file(o.Stdout), file(o.Stderr)
	s.process.WaitDelay = drain
	procgroup.Own(s.process) // a signal to the wrapper's group is the wrapper's to pass on
	if err := s.process.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	go s.read() // ends with the supervisor, or with Close
	return s, nil
}

// socketPair returns two ends of a connection. Only the second one is inherited.
func socketPair() (ours *os.File, theirs int, err error) {
	syscall.ForkLock.RLock()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(ends[1])
	if err = unix.SetNonblock(ends[0], true); err == nil {
		theirs, err = unix.FcntlInt(uintptr(ends[1]), unix.F_DUPFD, firstFD)
	}
	if err != nil {
		unix.Close(ends[0])
		return nil, 0, err
	}
	return os.NewFile(uintptr(ends[0]), "supervisor"), theirs, nil
}

// read reads what the supervisor reports.
func (s *Supervisor) read() {
	defer close(s.reports)
	for in := gob.NewDecoder(s.conn); ; {
		var r report
		if in.Decode(&r) != nil {
			return
		}
		s.reports <- r
	}
}

// sendTimeout bounds an order to a supervisor that does not read: one that is stopped.
const sendTimeout = time.Second

// send sends an order. If it cannot, the supervisor has ended, which reports tells, or it is stopped: then the
// wrapper enforces the deadline itself.
func (s *Supervisor) send(o order) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	_ = s.out.Encode(o)
}

// closeTimeout bounds how long a supervisor may take to end that has nothing left to do.
const closeTimeout = time.Second

// Close ends the supervisor. It is called after Run, or instead of it.
func (s *Supervisor) Close() {
	_ = s.conn.Close()
	kill := time.AfterFunc(closeTimeout, func() { _ = s.process.Process.Kill() })
	defer kill.Stop()
	_ = s.process.Wait() // it is not about its exit code
	for range s.reports {
	}
}

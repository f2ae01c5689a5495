package child

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

const (
	// drain is how long output may still arrive after the command has ended, where it does not
	// go to a file.
	drain = 200 * time.Millisecond
	// restGrace is what the rest of a group gets between SIGTERM and SIGKILL, after its command has ended
	// by itself.
	restGrace = 5 * time.Second
	// restKilled bounds the wait for processes that were killed: one that hangs in the kernel does not
	// end.
	restKilled = time.Second
	// restPoll is the first pause between two looks whether the rest has ended, which nothing announces, and
	// mostRestPoll the longest.
	restPoll, mostRestPoll = time.Millisecond, 50 * time.Millisecond
)

// Process is a command that was started. Its methods may be called from any goroutine.
type Process struct {
	cmd      *exec.Cmd
	settings settings
	pid      int
	tty      *terminal // nil: there is none, or this process is not in its foreground
	ended    chan struct{}
	done     chan struct{}
	code     int // set before done is closed, as interrupted is

	interrupted bool

	mu    sync.Mutex
	asked bool // to end, by Stop
	over  bool // nothing is left that could be signalled
	kill  *time.Timer
	at    time.Time // when kill fires
}

// settings are how Start and Run differ.
type settings struct {
	ownGroup   bool
	leaveRest  bool                    // do not end what the command left in its group
	restGrace  time.Duration           // what it gets between SIGTERM and SIGKILL
	supervised bool                    // this process is a supervisor: it waits for orphans, too, and has no terminal
	stopped    func(by syscall.Signal) // of a supervised one: a signal stopped the command
}

// Start starts the command in a process group of its own. Its error is a *CannotRunError.
//
// A writer of the command that has a method File gets that file itself, without copying.
func Start(cmd *exec.Cmd) (*Process, error) {
	return start(cmd, settings{ownGroup: true, restGrace: restGrace})
}

// filer is a writer that is a file with something around it.
type filer interface{ File() *os.File }

func file(w io.Writer) io.Writer {
	if f, ok := w.(filer); ok {
		return f.File()
	}
	return w
}

func start(cmd *exec.Cmd, s settings) (*Process, error) {
	// A command that writes to a file of its own needs no copying. Otherwise Wait would wait
	// for every process that has the pipe open, also for one that the command left in the background.
	cmd.Stdout, cmd.Stderr = file(cmd.Stdout), file(cmd.Stderr)
	cmd.WaitDelay = drain
	p := newProcess(cmd, s)
	if s.ownGroup {
		procgroup.Own(cmd)
	}
	if s.supervised {
		endWithParent(cmd)
	} else if s.ownGroup {
		p.tty = openTerminal()
	}
	if err := cmd.Start(); err != nil {
		p.tty.close()
		return nil, cannotRun(err)
	}
	p.pid = cmd.Process.Pid
	go p.wait() // ends with the command, and then what is left of its group
	return p, nil
}

func newProcess(cmd *exec.Cmd, s settings) *Process {
	return &Process{cmd: cmd, settings: s, ended: make(chan struct{}), done: make(chan struct{})}
}

// Pid is that of the command's own process, and the number of its group.
func (p *Process) Pid() int { return p.pid }

// Ended is closed when the command's own process has ended. What is left of its group may still run: see Done.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Done is closed when the command has ended, and what was left of its group, too.
func (p *Process) Done() <-chan struct{} { return p.done }

// Code is the exit code as a shell has it: 128 + N if signal N ended the command. Call it after Done.
func (p *Process) Code() int { return p.code }

// Interrupted tells whether Ctrl-C ended the command: SIGINT did, or the exit code is 130 and the command had the
// terminal's foreground, where Ctrl-C does not reach this process. Call it after Done.
func (p *Process) Interrupted() bool { return p.interrupted }

// Signal sends a signal to the whole group. The error is os.ErrProcessDone once the command has ended.
func (p *Process) Signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal(s)
}

// signal is Signal. p.mu is held.
func (p *Process) signal(s os.Signal) error {
	if p.over {
		return os.ErrProcessDone
	}
	p.tty.passes(s)
	if !p.settings.ownGroup || procgroup.Signal(p.cmd.Process, s) != nil {
		return p.cmd.Process.Signal(s)
	}
	return nil
}

// Stop asks the group to end, with SIGTERM, and kills it when grace is over, at once if grace is 0 or less. A
// group that is stopped is continued, so that it can end. Stop returns at once; a later call may shorten the
// grace, does not prolong it, and does not ask again.
func (p *Process) Stop(grace time.Duration) {
	p.mu.Lock()
	if grace > 0 && !p.asked {
		p.asked = true
		_ = p.signal(terminate)
		_ = p.signal(resume)
	}
	p.mu.Unlock()
	p.killAfter(grace)
}

// killAfter has the group killed after a time, or earlier if that was asked for before.
func (p *Process) killAfter(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	at := time.Now().Add(d)
	if p.kill != nil {
		if !at.Before(p.at) {
			return
		}
		p.kill.Stop()
	}
	p.at = at
	p.kill = time.AfterFunc(d, func() { _ = p.Signal(os.Kill) })
}

// wait waits for the command, and ends what is left of its group.
func (p *Process) wait() {
	p.code = p.await()
	close(p.ended)
	if !p.settings.leaveRest {
		p.endRest()
	}
	p.mu.Lock()
	p.over = true
	if p.kill != nil {
		p.kill.Stop()
	}
	p.mu.Unlock()
	p.tty.ended(p.code)
	p.tty.close()
	_ = p.cmd.Wait() // for what copies its output; how the command ended is known
	_ = p.cmd.Process.Release()
	close(p.done)
}

// endRest ends what is left of the group.
func (p *Process) endRest() {
	if !p.hasRest() {
		return
	}
	p.mu.Lock()
	p.asked = false // what is left may have begun since then
	p.mu.Unlock()
	p.Stop(p.settings.restGrace)
	p.mu.Lock()
	limit := p.at.Add(restKilled)
	p.mu.Unlock()
	for pause := restPoll; p.hasRest() && time.Now().Before(limit); pause = min(2*pause, mostRestPoll) {
		<-time.After(pause)
	}
}

// adopt is a Process for a command that another process started, and that has become this one's child.
func adopt(pid int, grace time.Duration) (*Process, error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	p := newProcess(&exec.Cmd{Process: process}, settings{ownGroup: true, restGrace: grace})
	p.pid = pid
	go p.wait() // ends with the command, and then what is left of its group
	return p, nil
}

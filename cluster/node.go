package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/procgroup"
)

// node is a running member as the cluster sees it: a process, or a server in this one.
type node interface {
	pid() int
	// stopGracefully and stopWithoutHandOver ask for a clean end; a leader hands its leadership over with
	// the first only. kill does not ask. done closes after any.
	stopGracefully()
	stopWithoutHandOver()
	kill()
	done() <-chan struct{}
	// failure is why it ended, as the member said; after done.
	failure() string
	move(ctx context.Context, to uint64) error
}

// nodeEvents is what a node calls.
type nodeEvents struct {
	bound   func() // the member answers its peers
	report  func(report)
	warning io.Writer // zap's JSON lines
}

// local is a member in this process.
type local struct {
	stop  chan struct{}
	once  sync.Once
	ended chan struct{}

	noHandOver atomic.Bool

	mu  sync.Mutex
	srv *server
	err error
}

func startLocal(s spec, to nodeEvents) *local {
	l := &local{stop: make(chan struct{}), ended: make(chan struct{})}
	go l.run(s, to) // ends with the member; done tells
	return l
}

func (l *local) run(s spec, to nodeEvents) {
	defer close(l.ended)
	srv, err := startServer(s, to.warning, to.bound, l.stop)
	if err != nil {
		l.err = err
		return
	}
	l.mu.Lock()
	l.srv = srv
	l.mu.Unlock()
	srv.watch(l.stop, to.report)
	srv.close(!l.noHandOver.Load())
}

func (l *local) pid() int              { return os.Getpid() }
func (l *local) stopGracefully()       { l.once.Do(func() { close(l.stop) }) }
func (l *local) stopWithoutHandOver()  { l.once.Do(func() { l.noHandOver.Store(true); close(l.stop) }) }
func (l *local) kill()                 { l.stopWithoutHandOver() }
func (l *local) done() <-chan struct{} { return l.ended }

func (l *local) failure() string {
	if l.err == nil {
		return ""
	}
	return l.err.Error()
}

func (l *local) move(ctx context.Context, to uint64) error {
	l.mu.Lock()
	srv := l.srv
	l.mu.Unlock()
	if srv == nil {
		return ErrState
	}
	return srv.move(ctx, to)
}

// process is a member in a process of its own.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan answer
	ended   chan struct{}
	moves   sync.Mutex // one order at a time

	mu     sync.Mutex
	reason string
}

func startProcess(s spec, to nodeEvents) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, errtext.Errorf("cluster: find this program to run it again as %s: %w", s.Name, err)
	}
	cmd := exec.Command(exe, memberArg, s.Name)
	procgroup.Own(cmd) // Ctrl-C does not reach the member, and the kernel wakes a paused one when the parent is gone
	p := &process{cmd: cmd, answers: make(chan answer, 1), ended: make(chan struct{})}
	var pipes sync.WaitGroup
	stdout, outw := io.Pipe()
	stderr, errw := io.Pipe()
	cmd.Stdout, cmd.Stderr = outw, errw
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errtext.Errorf("cluster: start %s: %w", s.Name, err)
	}
	pipes.Go(func() { p.listen(stdout, to) })
	pipes.Go(func() { p.readStderr(stderr, s.LogFile, to.warning) })
	go func() { // ends with the process
		err := cmd.Wait()
		outw.Close()
		errw.Close()
		pipes.Wait()
		p.exited(err)
		close(p.ended)
	}()
	if err := p.send(s); err != nil {
		p.kill()
		<-p.ended
		return nil, errtext.Errorf("cluster: start %s: %w", s.Name, err)
	}
	return p, nil
}

// send writes one line to the member's stdin.
func (p *process) send(what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(b, '\n'))
	return err
}

// listen reads the member's messages on stdout.
func (p *process) listen(stdout io.Reader, to nodeEvents) {
	dec := json.NewDecoder(stdout)
	for {
		var m message
		if dec.Decode(&m) != nil {
			_, _ = io.Copy(io.Discard, stdout)
			return
		}
		switch {
		case m.Bound:
			to.bound()
		case m.Report != nil:
			to.report(*m.Report)
		case m.Failed != "":
			p.setReason(m.Failed)
		case m.Answer != nil:
			select {
			case p.answers <- *m.Answer:
			default: // its caller has left
			}
		}
	}
}

// readStderr passes warnings in JSON on, writes what the Go runtime prints when a member panics to the
// member's log file, and keeps the reason of the end.
func (p *process) readStderr(stderr io.Reader, logFile string, warnings io.Writer) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if e, ok := parseEntry(line); ok {
				if e.fatal() {
					p.setReason(e.String())
				}
				_, _ = warnings.Write(line)
			} else {
				if head, ok := bytes.CutPrefix(line, []byte("panic: ")); ok {
					p.setReason(strings.TrimSpace(string(head)))
				}
				appendFile(logFile, line)
			}
		}
		if err != nil {
			return
		}
	}
}

func appendFile(name string, b []byte) {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return // the log was removed with its directory; the reason was kept
	}
	defer f.Close()
	_, _ = f.Write(b)
}

// setReason keeps the first reason: what follows a failure is mostly its consequence.
func (p *process) setReason(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == "" {
		p.reason = reason
	}
}

func (p *process) exited(err error) {
	if err != nil {
		p.setReason(err.Error())
	}
}

func (p *process) failure() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

func (p *process) pid() int              { return p.cmd.Process.Pid }
func (p *process) done() <-chan struct{} { return p.ended }
func (p *process) kill()                 { _ = p.cmd.Process.Kill() }
func (p *process) stopGracefully()       { terminate(p.cmd.Process) }
func (p *process) stopWithoutHandOver()  { _ = p.send(order{Stop: true}) }

func (p *process) move(ctx context.Context, to uint64) error {
	p.moves.Lock()
	defer p.moves.Unlock()
	select {
	case <-p.answers: // to an order whose caller had left
	default:
	}
	if err := p.send(order{MoveTo: to}); err != nil {
		return err
	}
	t := time.NewTimer(orderTimeout + time.Second)
	defer t.Stop()
	select {
	case a := <-p.answers:
		if a.Err != "" {
			return errors.New(a.Err)
		}
		return nil
	case <-p.ended:
		return errors.New("the member ended")
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return errors.New("it does not answer")
	}
}

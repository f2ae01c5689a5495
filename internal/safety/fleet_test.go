package safety_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// process is a worker, as the driver sees it.
type process struct {
	id     string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer // to be read when it has ended
	done   chan struct{}
	err    error // how it ended, once done is closed
}

// fleet are the workers of one arm.
type fleet struct {
	job
	name string // what their ids begin with
	hear func(*process, op)

	mu      sync.Mutex
	started int
	idle    []*process // no fault is being done to them
	all     []*process
}

// start starts another worker.
func (f *fleet) start() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	j := f.job
	j.Worker = fmt.Sprint(f.name, f.started)
	j.Seed += uint64(f.started)
	p, err := startProcess(j, f.hear)
	if err != nil {
		return fmt.Errorf("start worker %s: %w", j.Worker, err)
	}
	f.idle = append(f.idle, p)
	f.all = append(f.all, p)
	return nil
}

func startProcess(j job, hear func(*process, op)) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	p := &process{id: j.Worker, cmd: exec.Command(exe), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), workerEnv+"="+string(told))
	p.cmd.Stderr = &p.stderr
	// In a group of its own the kernel wakes and ends a stopped worker whose parent is gone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(out, hear) // ends with the process
	return p, nil
}

func (p *process) listen(out io.Reader, hear func(*process, op)) {
	defer close(p.done)
	var garbled error
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var o op
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			garbled = fmt.Errorf("%q: %w", lines.Text(), err) // the last line of one that was killed may be
			continue
		}
		if garbled != nil {
			break
		}
		hear(p, o)
	}
	_, _ = io.Copy(io.Discard, out) // if it was not at its end
	p.err = p.cmd.Wait()
	if p.err == nil {
		p.err = garbled
	}
}

// take removes a worker from the idle ones: by id, or if that is "" any.
func (f *fleet) take(id string, any func(int) int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.idle, func(p *process) bool { return p.id == id })
	if id == "" && len(f.idle) > 0 {
		i = any(len(f.idle))
	}
	if i < 0 {
		return nil
	}
	p := f.idle[i]
	f.idle = slices.Delete(f.idle, i, i+1)
	return p
}

func (f *fleet) giveBack(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = append(f.idle, p)
}

// kill is SIGKILL. It returns when the process is gone and everything it said was heard.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill() // or it has ended, which is told below
	<-p.done
	if status, is := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !is || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("worker %s ended before it was killed: %v\n%s", p.id, p.err, &p.stderr)
	}
	return nil
}

func (p *process) order(what string) error {
	_, err := fmt.Fprintln(p.stdin, what)
	return err
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// finish lets the workers finish what they do.
func (f *fleet) finish(within time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, p := range f.idle {
		errs = append(errs, p.order(orderEnd))
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for _, p := range f.idle {
		select {
		case <-p.done:
			if p.err != nil {
				errs = append(errs, fmt.Errorf("worker %s: %w\n%s", p.id, p.err, &p.stderr))
			}
		case <-late.C:
			return errors.Join(append(errs, fmt.Errorf("worker %s does not finish within %v", p.id, within))...)
		}
	}
	return errors.Join(errs...)
}

// end leaves no process behind, however the test ended.
func (f *fleet) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.all {
		_ = p.cmd.Process.Kill() // or it has ended
		<-p.done
	}
}

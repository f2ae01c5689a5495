package tour

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stepTimeout bounds every wait in a lesson. The longest is for the program of the two locks: some 5 s, and more than 30
// where the disk is slow and the processors are busy.
const stepTimeout = 2 * time.Minute

// program is a running example, or etcdctl. Its lines of output are shown as they come.
type program struct {
	cmd  *exec.Cmd
	name string

	mu      sync.Mutex
	lines   []string
	changed chan struct{}
	ended   chan struct{}
	err     error
}

// launch starts a command. record is called with each line that it prints.
func launch(cmd *exec.Cmd, name string, record func(line string)) (*program, error) {
	p := &program{cmd: cmd, name: name, changed: make(chan struct{}), ended: make(chan struct{})}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { // ends with the program
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			record(lines.Text())
			p.record(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out)
	})
	go func() { // ends with the program
		p.err = cmd.Wait()
		in.Close()
		reading.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *program) record(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

// waitFor waits until a line after the first n has the text, and returns how many lines there
// were then.
func (p *program) waitFor(ctx context.Context, n int, text string) (int, error) {
	timeout := time.NewTimer(stepTimeout)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		for i := n; i < len(p.lines); i++ {
			if strings.Contains(p.lines[i], text) {
				p.mu.Unlock()
				return i + 1, nil
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.ended:
			return 0, fmt.Errorf("%s ended before it said %q: %w", p.name, text, exitReason(p.err))
		case <-timeout.C:
			return 0, fmt.Errorf("%s did not say %q within %v", p.name, text, stepTimeout)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func exitReason(err error) error {
	if err == nil {
		return errors.New("exit code 0")
	}
	return err
}

// wait returns when the program has ended by itself, with all that it said.
func (p *program) wait(ctx context.Context) (string, error) {
	timeout := time.NewTimer(stepTimeout)
	defer timeout.Stop()
	select {
	case <-p.ended:
	case <-timeout.C:
		p.kill()
		return "", fmt.Errorf("%s did not end within %v", p.name, stepTimeout)
	case <-ctx.Done():
		p.interrupt()
		return "", ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n"), p.err
}

// interrupt is Ctrl-C, and kill what it is called; both wait for the end.
func (p *program) interrupt() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
		return p.err
	case <-time.After(stepTimeout):
		p.kill()
		return fmt.Errorf("%s did not end within %v of its interrupt", p.name, stepTimeout)
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.ended
}

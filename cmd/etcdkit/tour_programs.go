package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

const (
	modulePath = "github.com/etcdkit/etcdkit"
	// stepTimeout bounds every wait in a step: leases of 5 s on a slow machine.
	stepTimeout = 30 * time.Second
)

// exampleNames are the folders below examples/, in the order of the tour.
var exampleNames = []string{"basic", "watch", "lease", "sr", "sd", "concurrency-by-distributed-lock"}

// source is where the examples are: in a checkout, or in a version of the module.
type source struct{ dir, version string }

// examplesSource finds the checkout that the tour is run in, or the one or the version that the module
// there requires, or else the version that this program is.
func examplesSource(ctx context.Context) (source, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return source{}, errors.New("the tour compiles the examples and needs Go: install it from https://go.dev/dl and put it on PATH")
	}
	where := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{if or .Main .Replace}}{{.Dir}}{{else}}@{{.Version}}{{end}}", modulePath)
	if out, err := where.Output(); err == nil {
		if found := strings.TrimSpace(string(out)); strings.HasPrefix(found, "@") {
			return source{version: found}, nil
		} else if found != "" {
			return source{dir: found}, nil
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return source{}, fmt.Errorf("the tour compiles the examples: run it inside a checkout of %s", modulePath)
	}
	return source{version: "@" + info.Main.Version}, nil
}

// buildExamples compiles the examples into dir and tells the program of each.
func buildExamples(ctx context.Context, from source, names []string, dir string) (map[string]string, error) {
	args := []string{"install"}
	for _, name := range names {
		args = append(args, modulePath+"/examples/"+name+from.version)
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = from.dir                                            // whose go.sum has all that they need
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOTMPDIR="+dir) // which its caller removes
	procgroup.KillOnCancel(build)                                   // go install is killed with its compilers
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the examples: %w\n%s", err, bytes.TrimSpace(out))
	}
	programs := make(map[string]string)
	for _, name := range names {
		program := filepath.Join(dir, name)
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		if _, err := os.Stat(program); err != nil {
			return nil, fmt.Errorf("compile the examples: %w", err)
		}
		programs[name] = program
	}
	return programs, nil
}

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

// start runs an example.
func (t *tour) start(s *step, name string, args ...string) (*program, error) {
	shown := append([]string{"go run ./examples/" + name}, args...)
	return t.launch(s, strings.Join(shown, " "), exec.Command(t.examples[name], args...))
}

// etcdctl runs upstream's etcdctl, which is inside this program.
func (t *tour) etcdctl(s *step, args ...string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var shown []string
	for _, a := range args {
		if a == "" {
			a = "''"
		}
		shown = append(shown, a)
	}
	return t.launch(s, "etcdkit ctl "+strings.Join(shown, " "), exec.Command(self, append([]string{"ctl"}, args...)...))
}

func (t *tour) launch(s *step, shown string, cmd *exec.Cmd) (*program, error) {
	t.ui.command(shown)
	s.Commands = append(s.Commands, shown)
	p := &program{cmd: cmd, name: shown, changed: make(chan struct{}), ended: make(chan struct{})}
	out, in := io.Pipe()
	cmd.Env = t.env
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { // ends with the program
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			s.heard(t.ui, lines.Text())
			p.heard(lines.Text())
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

func (p *program) heard(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

// says waits until a line after the first n has the text, and returns how many lines there
// were then.
func (p *program) says(ctx context.Context, n int, text string) (int, error) {
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
			return 0, fmt.Errorf("%s ended before it said %q: %w", p.name, text, cmpErr(p.err))
		case <-timeout.C:
			return 0, fmt.Errorf("%s did not say %q within %v", p.name, text, stepTimeout)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func cmpErr(err error) error {
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

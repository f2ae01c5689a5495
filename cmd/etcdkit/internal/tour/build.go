package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

const modulePath = "github.com/etcdkit/etcdkit"

// source is where the examples are: in a checkout, or in a version of the module.
type source struct {
	dir, version string
	main         bool // dir is the checkout that the tour is run in
}

// run is how a person runs an example from here.
func (from source) run(name string) string {
	if here, err := os.Getwd(); from.main && err == nil {
		if dir, err := filepath.Rel(here, from.dir); err == nil {
			dir = filepath.ToSlash(filepath.Join(dir, "examples", name))
			if !strings.HasPrefix(dir, "../") {
				dir = "./" + dir
			}
			return "go run " + dir
		}
	}
	return "go run " + modulePath + "/examples/" + name + from.version
}

// examplesSource finds the checkout that the tour is run in, or the one or the version that the module
// there requires, or else the version that this program is.
func examplesSource(ctx context.Context) (source, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return source{}, errors.New("the tour compiles the examples and needs Go: install it from https://go.dev/dl and put it on PATH")
	}
	where := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Main}} {{if or .Main .Replace}}{{.Dir}}{{else}}@{{.Version}}{{end}}", modulePath)
	if out, err := where.Output(); err == nil {
		main, found, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		if strings.HasPrefix(found, "@") {
			return source{version: found}, nil
		} else if found != "" {
			return source{dir: found, main: main == "true"}, nil
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return source{}, fmt.Errorf("the tour compiles the examples: run it inside a checkout of %s", modulePath)
	}
	return source{version: "@" + info.Main.Version}, nil
}

// Build compiles examples in the background, and keeps the programs until Close.
type Build struct {
	from source
	dir  string
	stop context.CancelFunc
	done chan struct{}

	path map[string]string // by the name of the example, once it is done
	err  error
}

// StartBuild compiles examples until ctx ends. It fails at once where they cannot be found.
func StartBuild(ctx context.Context, names []string) (*Build, error) {
	from, err := examplesSource(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "etcdkit-tour-")
	if err != nil {
		return nil, fmt.Errorf("directory for the examples: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	b := &Build{from: from, dir: dir, stop: stop, done: make(chan struct{})}
	go func() { // ends with the compiler, which ends with ctx
		defer close(b.done)
		b.path, b.err = compile(ctx, from, names, dir)
	}()
	return b, nil
}

// Close ends the compiler and removes the programs.
func (b *Build) Close() error {
	b.stop()
	<-b.done
	return os.RemoveAll(b.dir)
}

// wait returns when the programs are there.
func (b *Build) wait(ctx context.Context, s *stage) error {
	select {
	case <-b.done:
		return b.err
	default:
	}
	defer s.waiting("compiling the examples")()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compile compiles the examples into dir and tells the program of each.
func compile(ctx context.Context, from source, names []string, dir string) (map[string]string, error) {
	args := []string{"install"}
	for _, name := range names {
		args = append(args, modulePath+"/examples/"+name+from.version)
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = from.dir                                            // whose go.sum has all that they need
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOTMPDIR="+dir) // which Close removes
	procgroup.KillOnCancel(build)
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

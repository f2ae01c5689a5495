package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/internal/wholefile"
)

// commandGrace is what a command that takes too long gets between SIGTERM and SIGKILL.
const commandGrace = 5 * time.Second

// unfinishedAge is when a new content that no process has committed counts as left by one that was killed.
const unfinishedAge = time.Hour

// checkError says that Check refused an output.
type checkError struct{ err error }

func (e *checkError) Error() string { return e.err.Error() }
func (e *checkError) Unwrap() error { return e.err }

// execError says that Exec failed, after the outputs were written.
type execError struct{ err error }

func (e *execError) Error() string { return e.err.Error() }
func (e *execError) Unwrap() error { return e.err }

// replacement is a new output that has no name yet.
type replacement struct {
	*wholefile.File
	output string
}

// update executes the templates, and writes, checks and executes what has changed.
func (j *Job) update(ctx context.Context, s *sources) (changed bool, err error) {
	results, err := j.execute(ctx, s)
	if err != nil {
		return false, err
	}
	news, err := j.prepare(results)
	if err != nil {
		return false, err
	}
	defer abandon(news) // those that are not committed
	for _, n := range news {
		if err := j.check(ctx, n); err != nil {
			return false, err
		}
	}
	for i, n := range news {
		if err := n.Commit(); err != nil {
			return i > 0, err
		}
		j.Say("wrote %s", n.output)
	}
	if len(news) == 0 || j.Exec == "" {
		return len(news) > 0, nil
	}
	if err := j.shell(ctx, "exec", j.Exec, nil); err != nil {
		return true, &execError{err}
	}
	return true, nil
}

// prepare writes the outputs that have changed under other names; all or none of them.
func (j *Job) prepare(results []Result) (news []replacement, err error) {
	for _, r := range results {
		same, err := j.unchanged(r)
		if err == nil && same {
			continue
		}
		var n *wholefile.File
		if err == nil {
			n, err = wholefile.Prepare(r.Output, r.Content, j.Perm)
		}
		if err != nil {
			abandon(news)
			return nil, err
		}
		news = append(news, replacement{n, r.Output})
	}
	return news, nil
}

// unchanged tells whether the output has this content and mode already.
func (j *Job) unchanged(r Result) (bool, error) {
	name, err := wholefile.Target(r.Output)
	if err != nil {
		return false, err
	}
	wholefile.RemoveUnfinished(name, unfinishedAge)
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != int64(len(r.Content)) || j.Perm != 0 && info.Mode().Perm() != j.Perm {
		return false, nil
	}
	old, err := os.ReadFile(name)
	return bytes.Equal(old, r.Content), err
}

func abandon(news []replacement) {
	for _, n := range news {
		n.Abandon()
	}
}

// check asks the user's command whether a new output is good.
func (j *Job) check(ctx context.Context, n replacement) error {
	if j.Check == "" {
		return nil
	}
	path, err := filepath.Abs(n.Name())
	if err != nil {
		return err
	}
	env := []string{"ETCDKIT_RENDERED=" + path, "ETCDKIT_OUTPUT=" + n.output}
	if err := j.shell(ctx, "check", strings.ReplaceAll(j.Check, "{}", quoted(path)), env); err != nil {
		return &checkError{fmt.Errorf("%s: the old file stays: %w", n.output, err)}
	}
	return nil
}

// quoted is a text as a shell reads it as one word.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// shell runs a command of the user's, what for is in one word.
func (j *Job) shell(ctx context.Context, what, command string, env []string) error {
	bound, cancel := context.WithTimeout(ctx, j.CommandTimeout)
	defer cancel()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = j.Stdout, j.Stderr
	code, err := reload.RunToEnd(bound, cmd, nil, commandGrace)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("%s %q: killed, as it ran for more than %v", what, command, j.CommandTimeout)
	case err != nil:
		return fmt.Errorf("%s %q: %w", what, command, err)
	case code != 0:
		return fmt.Errorf("%s %q: exit code %d", what, command, code)
	}
	return nil
}

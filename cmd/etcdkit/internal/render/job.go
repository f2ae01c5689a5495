package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/mirror"
)

// retryAfter is when an execution is tried again that could not read a dependency.
const retryAfter = 5 * time.Second

// Minimum is how many instances of a service must take requests before anything is written.
type Minimum struct {
	Service string
	Least   int
}

// Job keeps files up to date.
type Job struct {
	Client    *clientv3.Client
	Templates []*Template
	Services  string      // the prefix of services, such as registry.DefaultPrefix
	Perm      fs.FileMode // of the outputs; 0 keeps what they have, see wholefile.Prepare
	Pause     reload.Pause
	Minimums  []Minimum

	Check, Exec    string        // commands for a shell, or ""
	CommandTimeout time.Duration // of each run of Check and Exec
	Stdout, Stderr io.Writer     // of these commands

	// Command, unless it is nil, is started when the outputs are there, and learns when they have changed. Signals
	// are for it.
	Command *reload.Keeper
	Signals <-chan os.Signal

	Say func(format string, args ...any) // tells a person what happens

	said string // the trouble that was said last
}

// Result is what an execution makes of a template.
type Result struct {
	*Template
	Content []byte
}

// ErrTooFew says that a service has fewer instances than a Minimum asks for.
var ErrTooFew = errors.New("too few instances take requests")

// execute executes all templates.
func (j *Job) execute(ctx context.Context, s *sources) ([]Result, error) {
	s.begin(ctx)
	results := make([]Result, len(j.Templates))
	for i, t := range j.Templates {
		content, err := t.execute(s)
		if err != nil {
			return nil, err
		}
		results[i] = Result{t, content}
	}
	for _, m := range j.Minimums {
		list, err := s.instances(m.Service)
		if err != nil {
			return nil, err
		}
		if n := taking(list); n < m.Least {
			return nil, fmt.Errorf("service %q: %w: %d of %d", m.Service, ErrTooFew, n, m.Least)
		}
	}
	if err := s.stale(); err != nil {
		return nil, err
	}
	s.prune()
	return results, nil
}

func taking(list []*discovery.Instance) int {
	n := 0
	for _, i := range list {
		if i.TakesRequests() {
			n++
		}
	}
	return n
}

// Once writes the outputs and executes what follows, once. It waits for Minimums until ctx ends.
func (j *Job) Once(ctx context.Context) error {
	return j.once(ctx, func(s *sources) error {
		_, err := j.update(ctx, s)
		return err
	})
}

// DryRun returns what would be written. It waits for Minimums until ctx ends.
func (j *Job) DryRun(ctx context.Context) (results []Result, err error) {
	err = j.once(ctx, func(s *sources) error {
		results, err = j.execute(ctx, s)
		return err
	})
	return results, err
}

func (j *Job) once(ctx context.Context, try func(*sources) error) error {
	s := newSources(j.Client, j.Services)
	defer s.close()
	for {
		err := try(s)
		if !errors.Is(err, ErrTooFew) && !errors.Is(err, errStale) {
			return err
		}
		j.complain(err)
		select {
		case <-s.changed:
		case <-ctx.Done():
			return err
		}
	}
}

// Run keeps the outputs up to date until ctx ends, or Command does: then code is its exit code.
func (j *Job) Run(ctx context.Context) (code int, err error) {
	s := newSources(j.Client, j.Services)
	defer s.close()
	if err := j.cycle(ctx, s); err != nil && isFinal(err) {
		return 0, err
	}
	pause := reload.NewGatherer(j.Pause)
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	for {
		var signals <-chan os.Signal
		var ended <-chan struct{}
		over := ctx.Done()
		if j.Command != nil && j.Command.Running() {
			signals, ended, over = j.Signals, j.Command.Ended(), nil
		}
		select {
		case <-s.changed:
			pause.Changed()
			continue
		case <-pause.C():
			if pause.Stop(); ctx.Err() != nil {
				continue // only the command's end is left to wait for
			}
		case <-retry.C:
			if j.said == "" || pause.Waiting() || ctx.Err() != nil {
				continue
			}
		case sig := <-signals:
			j.Command.Forward(sig)
			continue
		case <-ended:
			if code, again, err := j.Command.Next(); !again || err != nil {
				return code, err
			}
			continue
		case <-over:
			return 0, context.Cause(ctx)
		}
		if err := j.cycle(ctx, s); ctx.Err() != nil && (j.Command == nil || !j.Command.Running()) {
			return 0, errors.Join(context.Cause(ctx), err)
		}
	}
}

// isFinal tells whether an error of the first execution stays, however long one waits.
func isFinal(err error) bool {
	var cannotStart *startError
	return errors.Is(err, mirror.ErrInvalid) || errors.Is(err, mirror.ErrDenied) || errors.Is(err, discovery.ErrInvalid) || errors.As(err, &cannotStart)
}

// startError says that the command cannot be started.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

// cycle is one execution and what follows from it.
func (j *Job) cycle(ctx context.Context, s *sources) error {
	changed, err := j.update(ctx, s)
	if err != nil && ctx.Err() == nil {
		j.complain(err)
	}
	if err == nil {
		j.said = ""
	}
	switch {
	case j.Command == nil:
	case !j.Command.Running():
		if err == nil {
			if err := j.Command.Start(); err != nil {
				return &startError{err}
			}
		}
	case changed:
		j.Command.Changed()
	}
	return err
}

// complain says what is wrong, once.
func (j *Job) complain(err error) {
	text := errtext.Text(err)
	if j.said == text {
		return
	}
	j.said = text
	j.Say("%s", text+j.remedy(err))
}

// remedy is what follows from an error, and what is waited for.
func (j *Job) remedy(err error) string {
	var missing *MissingError
	var refused *checkError
	switch {
	case errors.As(err, &refused), errors.As(err, new(*execError)):
		return ""
	case errors.Is(err, errStale):
		return "; the files stay as they are until etcd confirms it"
	case errors.As(err, &missing):
		return "; waiting for it"
	case errors.Is(err, ErrTooFew):
		return "; waiting for more"
	}
	return "; the files stay as they are"
}

package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

var (
	// ErrWarning from a Probe: the instance takes requests, but a person should look at it.
	ErrWarning = errors.New("health: warning")
	// ErrInvalid: a Check cannot be run as it is. Nothing was started.
	ErrInvalid = errors.New("health: invalid")
)

// Probe checks an instance once; addr is its host:port. If err is nil, the check passes. An error that
// is ErrWarning is a warning, and any other error a failure. The result's text is output, or the text
// of err if output is empty. A Probe must return soon after ctx is done.
type Probe func(ctx context.Context, addr string) (output string, err error)

// Check is a Probe, and the rules for its results.
//
// Results that are warnings can make a check warning, whether it was passing or critical, but never
// critical.
type Check struct {
	// Name identifies the check for people and in the instance's record in etcd: at most 100 bytes,
	// and different from those of the instance's other checks.
	Name  string
	Probe Probe
	// Interval is from the start of one probe to that of the next. Default 5 s, at least 10 ms.
	Interval time.Duration
	// Timeout is when a probe that has not returned counts as failed. Default 2 s, at least 10 ms.
	Timeout time.Duration
	// PassingAfter is how many passes in a row make the check passing. Default 1.
	PassingAfter int
	// WarningAfter is how many failures in a row make a passing check warning. Default 1; with
	// WarningAfter = CriticalAfter only an ErrWarning makes it warning before it is critical.
	WarningAfter int
	// CriticalAfter is how many failures in a row make it critical. Default 3.
	CriticalAfter int

	usable func() error // checks the arguments of the constructor; nil: they are valid
}

const (
	maxChecks   = 16 // of an instance: each of them is in its record
	maxName     = 100
	minDuration = 10 * time.Millisecond // time.Duration(5) is a mistake
)

// withDefaults fills in what is zero.
func (c Check) withDefaults() Check {
	if c.Interval == 0 {
		c.Interval = 5 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	for _, n := range []struct {
		field *int
		or    int
	}{{&c.PassingAfter, 1}, {&c.WarningAfter, 1}, {&c.CriticalAfter, 3}} {
		if *n.field == 0 {
			*n.field = n.or
		}
	}
	return c
}

// Validate checks what Open would run. Its errors are ErrInvalid.
func Validate(checks ...Check) error {
	if len(checks) > maxChecks {
		return fmt.Errorf("%w: %d checks: want at most %d", ErrInvalid, len(checks), maxChecks)
	}
	seen := make(map[string]bool)
	for _, c := range checks {
		if err := c.withDefaults().validate(); err != nil {
			return errtext.Errorf("%w: check %.*q: %w", ErrInvalid, maxName, c.Name, err)
		}
		if seen[c.Name] {
			return fmt.Errorf("%w: check %q is given twice: set the Name of one", ErrInvalid, c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// validate checks c, its defaults filled in.
func (c Check) validate() error {
	if c.usable != nil {
		if err := c.usable(); err != nil {
			return err
		}
	}
	switch {
	case strings.TrimSpace(c.Name) == "" || len(c.Name) > maxName:
		return fmt.Errorf("its name has %d bytes: want 1 to %d", len(c.Name), maxName)
	case !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, unicode.IsControl):
		return errors.New("its name is not one line of UTF-8")
	case c.Probe == nil:
		return errors.New("it has no Probe")
	case c.Interval < minDuration || c.Timeout < minDuration:
		return fmt.Errorf("interval %v, timeout %v: want at least %v", c.Interval, c.Timeout, minDuration)
	case c.PassingAfter < 0 || c.WarningAfter < 0 || c.CriticalAfter < 0:
		return fmt.Errorf("passing after %d, warning after %d, critical after %d: want no negative number", c.PassingAfter, c.WarningAfter, c.CriticalAfter)
	case c.WarningAfter > c.CriticalAfter:
		return fmt.Errorf("warning after %d failures, critical after %d: want warning first", c.WarningAfter, c.CriticalAfter)
	}
	return nil
}

// Func is a check by a function of this process. It must return soon after ctx is done: until then it
// is not called again.
func Func(name string, f func(ctx context.Context) error) Check {
	c := Check{Name: name}
	if f != nil {
		c.Probe = func(ctx context.Context, _ string) (string, error) { return "", f(ctx) }
	}
	return c
}

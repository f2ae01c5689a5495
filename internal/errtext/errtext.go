// Package errtext makes errors that name one package each. A package's error begins with the package's
// name, and what it wraps loses its own:
//
//	return errtext.Errorf("lock: acquire %q: %w", name, err) // lock: acquire "jobs": closed
//
// where err is "lease: closed". Otherwise each layer would add its name to the text, which says
// nothing to a person. errors.Is and errors.As find what is wrapped, as after fmt.Errorf.
package errtext

import (
	"fmt"
	"slices"
	"strings"
)

// packages are those whose errors begin with their name, a colon and a space.
var packages = []string{
	"client", "cluster", "discovery", "doctor", "election", "etcdtest", "fence", "grpcresolver", "health",
	"httptransport", "inventory", "keys", "lease", "lock", "metrics", "mirror", "registry",
}

// Errorf is fmt.Errorf, but each error among the arguments loses the names of packages that its text
// begins with; except one for which the format begins with %w, which gives the new error its name.
func Errorf(format string, args ...any) error {
	var bared []any
	for i, arg := range args {
		err, ok := arg.(error)
		if !ok || i == 0 && strings.HasPrefix(format, "%w") {
			continue
		}
		if text, changed := strip(err); changed {
			if bared == nil {
				bared = slices.Clone(args) // they are the caller's
			}
			bared[i] = &bare{text, err}
		}
	}
	if bared == nil {
		return fmt.Errorf(format, args...) // args as it is, so that go vet knows what this function is
	}
	return fmt.Errorf(format, bared...)
}

// New returns an error with a text of its own. errors.Is and errors.As find in it each of is that is
// not nil.
func New(text string, is ...error) error {
	return &several{text, slices.DeleteFunc(is, func(err error) bool { return err == nil })}
}

// Text is what Errorf writes of an error, for a text that is no error.
func Text(err error) string {
	text, _ := strip(err)
	return text
}

// strip returns an error's text without the names of packages at its beginning, and at that of each
// further line, as errors.Join makes them.
func strip(err error) (text string, changed bool) {
	if err == nil {
		return "", false
	}
	full := err.Error()
	lines := strings.Split(full, "\n")
	for i, line := range lines {
		lines[i] = withoutNames(line)
	}
	text = strings.Join(lines, "\n")
	return text, text != full
}

func withoutNames(s string) string {
	for {
		name, rest, ok := strings.Cut(s, ": ")
		if !ok || !slices.Contains(packages, name) {
			return s
		}
		s = rest
	}
}

// bare is an error without the name of its package.
type bare struct {
	text string
	err  error
}

func (b *bare) Error() string { return b.text }
func (b *bare) Unwrap() error { return b.err }

// several is a text for several errors.
type several struct {
	text string
	is   []error
}

func (s *several) Error() string   { return s.text }
func (s *several) Unwrap() []error { return s.is }

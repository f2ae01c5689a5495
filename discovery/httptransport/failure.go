package httptransport

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// failure is why a request was not answered: one text, and all causes within reach of errors.Is.
type failure struct {
	text    string
	is      []error
	timeout bool
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.is }

// Timeout is what url.Error asks of the error that it wraps.
func (f *failure) Timeout() bool { return f.timeout }

// failure names the tries, and why there was no other one.
func (r *request) failure(why error) error {
	f := new(failure)
	var tries []string
	last := r.tries[len(r.tries)-1]
	for _, t := range r.tries {
		tries = append(tries, t.String())
		if t.err != nil {
			f.is = append(f.is, t.err)
		}
	}
	f.text = fmt.Sprintf("httptransport: service %q, %s", r.s.name, strings.Join(tries, "; "))
	if why != nil && !errors.Is(last.err, why) {
		f.text += "; " + why.Error()
		f.is = append(f.is, why)
	}
	f.timeout = timeout(last.err) || timeout(why)
	return f
}

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

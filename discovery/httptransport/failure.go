package httptransport

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/quote"
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
	f.text = fmt.Sprintf("httptransport: service %s, %s", quote.Text(r.s.name), strings.Join(tries, "; "))
	if r.nobodyLeft() {
		f.text = fmt.Sprintf("httptransport: nobody is registered as %s any more; of those that expired at once and are kept for a while: %s", quote.Text(r.s.name), strings.Join(tries, "; "))
		f.is = append(f.is, discovery.ErrNone)
	}
	if why != nil && !errors.Is(last.err, why) {
		f.text += "; " + why.Error()
		f.is = append(f.is, why)
	}
	f.timeout = timeout(last.err) || timeout(why)
	return f
}

// nobody is the error of a request to a service without an instance.
func (r *request) nobody(err error) error {
	s, when := r.s.view.State(), "as etcd has it"
	if !s.Fresh {
		when = fmt.Sprintf("as of %s; since then etcd is not reached: %v", s.Confirmed.Format(time.DateTime), s.Cause)
	}
	return &failure{text: fmt.Sprintf("httptransport: nobody is registered as %s, %s", quote.Text(r.s.name), when), is: []error{err}}
}

// nobodyLeft reports whether all that is listed is listed only because it is kept.
func (r *request) nobodyLeft() bool {
	all := r.s.view.Instances()
	return len(all) > 0 && !slices.ContainsFunc(all, func(i *discovery.Instance) bool { return i.Status != discovery.Expired })
}

// maxCause is how much of an error's text is kept: an instance can have a part in it.
const maxCause = 500

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

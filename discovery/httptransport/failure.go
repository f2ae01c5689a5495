package httptransport

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// failure is why a request was not answered. Timeout is what url.Error asks of the error that it wraps.
type failure struct {
	error
	timeout bool
}

func (f *failure) Unwrap() error { return f.error }
func (f *failure) Timeout() bool { return f.timeout }

// failure names the tries, and why there was no other one.
func (r *request) failure(why error) error {
	var tries []string
	var causes []error
	last := r.tries[len(r.tries)-1]
	for _, t := range r.tries {
		tries = append(tries, t.String())
		causes = append(causes, t.err)
	}
	what := "service " + quote.Text(r.service.name) + ","
	if text, ok := explain.AllExpired(r.service.view); ok {
		what, causes = text+":", append(causes, discovery.ErrNone)
	}
	text := fmt.Sprintf("httptransport: %s %s", what, strings.Join(tries, "; "))
	if why != nil && !errors.Is(last.err, why) {
		text += "; " + why.Error()
		causes = append(causes, why)
	}
	return &failure{errtext.New(text, causes...), timeout(last.err) || timeout(why)}
}

// noInstance is the error of a request to a service without an instance that takes requests.
func (r *request) noInstance(err error) error {
	return errtext.New("httptransport: "+explain.Empty(r.service.view, "takes requests"), err)
}

// maxCause is how much of an error's text is kept: an instance can have a part in it.
const maxCause = 500

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

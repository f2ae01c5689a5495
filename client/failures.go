package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// startTime is for how long endpoints are tried again where no process listens: about what a cluster takes
// to start, and short enough for a person who mistyped a port.
const startTime = time.Second

// failures keeps the last failure at each endpoint.
type failures struct {
	began     time.Time
	endpoints []endpoint
	from      setting // of the endpoints
	last      []*failure
	retry     []bool // whether another attempt can help
}

func newFailures(endpoints []endpoint, from setting) *failures {
	n := len(endpoints)
	return &failures{time.Now(), endpoints, from, make([]*failure, n), slices.Repeat([]bool{true}, n)}
}

func (all *failures) add(i int, f *failure) {
	if f.kind == interrupted && all.last[i] != nil {
		return // an earlier attempt says more than one that was interrupted
	}
	all.last[i] = f
	all.retry[i] = f.kind != final && (f.kind != notListening || time.Since(all.began) < startTime)
}

func (all *failures) allFinal() bool { return !slices.Contains(all.retry, true) }

// err is the error of all failures together. ctx is Dial's.
func (all *failures) err(ctx context.Context) error {
	text, is := "no member answered", []error{ErrUnreachable}
	if ctx.Err() != nil && !all.allFinal() {
		is = append(is, ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			text += " before the call was cancelled"
		} else {
			text += " in time"
		}
	}
	each := make(EndpointErrors, len(all.endpoints))
	allGone, allLocal := true, true
	for i, f := range all.last {
		each[i] = EndpointError{all.endpoints[i].text, f.text}
		is = append(is, f)
		allGone = allGone && f.kind == notListening
		allLocal = allLocal && all.endpoints[i].loopback()
	}
	text, is = text+": "+each.Error(), append(is, each)
	var advice adviceError
	switch variable := all.from.rank == fromEtcdkit || all.from.rank == fromEtcdctl; {
	case allGone && variable && allLocal:
		advice = adviceError(all.from.name + " says so: unset it if that cluster is gone (then a running etcdkit dev is found), or set it to one that runs")
	case allGone && variable:
		advice = adviceError(all.from.name + " says so: is it still right?")
	case allGone && allLocal:
		advice = "is a cluster running? try: etcdkit dev"
	}
	if advice != "" {
		text += "; " + string(advice)
		is = append(is, advice)
	}
	return newError(text, is...)
}

// adviceError is the last part of an error's text. errors.As finds its Advice: a command that starts clusters
// gives its own instead.
type adviceError string

func (e adviceError) Error() string  { return string(e) }
func (e adviceError) Advice() string { return string(e) }

// EndpointErrors are in an ErrUnreachable of Dial, one for each endpoint: errors.As finds them.
type EndpointErrors []EndpointError

// EndpointError is why there was no answer at an endpoint, for people.
type EndpointError struct{ Endpoint, Problem string }

func (e EndpointError) Error() string { return e.Endpoint + ": " + e.Problem }

func (all EndpointErrors) Error() string {
	lines := make([]string, len(all))
	for i, e := range all {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "; ")
}

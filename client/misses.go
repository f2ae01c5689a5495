package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// grace is for how long endpoints where nobody is are tried again: about what
// a cluster takes to start, and what a person who mistyped a port can bear.
const grace = time.Second

// misses keeps the last failure at each endpoint.
type misses struct {
	began     time.Time
	endpoints []endpoint
	from      setting // of the endpoints
	last      []*failure
	hope      []bool // whether another attempt may help
}

func newMisses(endpoints []endpoint, from setting) *misses {
	n := len(endpoints)
	return &misses{time.Now(), endpoints, from, make([]*failure, n), slices.Repeat([]bool{true}, n)}
}

func (m *misses) add(i int, f *failure) {
	if f.kind == interrupted && m.last[i] != nil {
		return // an earlier attempt says more than one that was cut short
	}
	m.last[i] = f
	m.hope[i] = f.kind != final && (f.kind != absence || time.Since(m.began) < grace)
}

func (m *misses) hopeless() bool { return !slices.Contains(m.hope, true) }

// err puts the failures together. ctx is Dial's.
func (m *misses) err(ctx context.Context) error {
	e := &dialError{text: "no member answered", is: []error{ErrUnreachable}}
	if ctx.Err() != nil && !m.hopeless() {
		e.is = append(e.is, ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			e.text += " before the call was cancelled"
		} else {
			e.text += " in time"
		}
	}
	lines := make([]string, len(m.endpoints))
	gone, here := true, true // nobody is there; and there is this machine
	for i, f := range m.last {
		lines[i] = m.endpoints[i].text + ": " + f.text
		e.is = append(e.is, f)
		gone = gone && f.kind == absence
		here = here && m.endpoints[i].loopback()
	}
	e.text += ": " + strings.Join(lines, "; ")
	switch variable := m.from.rank == fromEtcdkit || m.from.rank == fromEtcdctl; {
	case gone && variable && here:
		e.text += fmt.Sprintf("; %s says so: unset it if that cluster is gone (then a running etcdkit dev is found), or set it to one that runs", m.from.name)
	case gone && variable:
		e.text += fmt.Sprintf("; %s says so: is it still right?", m.from.name)
	case gone && here:
		e.text += "; is a cluster running? try: etcdkit dev"
	}
	return e
}

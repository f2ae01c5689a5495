package client

import (
	"context"
	"errors"
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
	last      []*failure
	hope      []bool // whether another attempt may help
}

func newMisses(endpoints []endpoint) *misses {
	n := len(endpoints)
	return &misses{time.Now(), endpoints, make([]*failure, n), slices.Repeat([]bool{true}, n)}
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
	hint := true
	for i, f := range m.last {
		lines[i] = m.endpoints[i].text + ": " + f.text
		e.is = append(e.is, f)
		hint = hint && f.kind == absence && m.endpoints[i].loopback()
	}
	e.text += ": " + strings.Join(lines, "; ")
	if hint {
		e.text += "; is a cluster running? try: etcdkit dev"
	}
	return e
}

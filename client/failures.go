package client

import (
	"context"
	"errors"
	"fmt"
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

func (m *failures) add(i int, f *failure) {
	if f.kind == interrupted && m.last[i] != nil {
		return // an earlier attempt says more than one that was interrupted
	}
	m.last[i] = f
	m.retry[i] = f.kind != final && (f.kind != notListening || time.Since(m.began) < startTime)
}

func (m *failures) allFinal() bool { return !slices.Contains(m.retry, true) }

// err is the error of all failures together. ctx is Dial's.
func (m *failures) err(ctx context.Context) error {
	text, is := "no member answered", []error{ErrUnreachable}
	if ctx.Err() != nil && !m.allFinal() {
		is = append(is, ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			text += " before the call was cancelled"
		} else {
			text += " in time"
		}
	}
	lines := make([]string, len(m.endpoints))
	allGone, allLocal := true, true
	for i, f := range m.last {
		lines[i] = m.endpoints[i].text + ": " + f.text
		is = append(is, f)
		allGone = allGone && f.kind == notListening
		allLocal = allLocal && m.endpoints[i].loopback()
	}
	text += ": " + strings.Join(lines, "; ")
	switch variable := m.from.rank == fromEtcdkit || m.from.rank == fromEtcdctl; {
	case allGone && variable && allLocal:
		text += fmt.Sprintf("; %s says so: unset it if that cluster is gone (then a running etcdkit dev is found), or set it to one that runs", m.from.name)
	case allGone && variable:
		text += fmt.Sprintf("; %s says so: is it still right?", m.from.name)
	case allGone && allLocal:
		text += "; is a cluster running? try: etcdkit dev"
	}
	return newError(text, is...)
}

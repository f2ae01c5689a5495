package services

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/etcdkit/etcdkit/bench/report"
)

// heap measures what a full consumer holds beyond an empty one, after garbage collection.
func (j *job) heap(ctx context.Context) (*report.Group, error) {
	n := j.Either(10_000, 1000)
	g := &report.Group{
		Name:    "heap",
		Title:   fmt.Sprintf("Heap of one consumer that lists %d instances", n),
		Columns: []string{"heap", "per instance", "key + value", "× raw"},
	}
	libraries := append([]library{&raw{label: "raw map"}}, all()...)
	var floor float64
	for i, l := range libraries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		j.Progress.Step("heap", l.name(), i+1, len(libraries))
		service := fmt.Sprintf("heap%d", i)
		var held float64
		err := guard(func() (err error) {
			held, err = j.medianHeld(ctx, l, service, n)
			return err
		})
		if err != nil {
			g.Add(l.name(), report.Failed(err))
			continue
		}
		if i == 0 {
			floor = held
		}
		key, value := l.record(service, address(0), address(0))
		g.Add(l.name(), report.Bytes(held), report.Bytes(held/float64(n)), report.Bytes(float64(len(key)+len(value))), report.RatioOf(held, floor))
	}
	g.Note("Beyond a consumer of an empty service: clients and connections are not in it. raw is a map of keys to values, made by a Get; go-kit is its Instancer, without an Endpointer; naming has no list, and what its resolver keeps is counted: a map of keys to updates.")
	return g, nil
}

// medianHeld is the median of three: the heap has other tenants.
func (j *job) medianHeld(ctx context.Context, l library, service string, n int) (float64, error) {
	if err := j.fill(ctx, l, service, n); err != nil {
		return 0, err
	}
	var s report.Sample
	for range 3 {
		held, err := j.held(ctx, l, service, n)
		if err != nil {
			return 0, err
		}
		s = append(s, held)
	}
	return s.Median(), nil
}

// held opens three consumers: one that warms up what a library shares, an empty one, a full one.
func (j *job) held(ctx context.Context, l library, service string, n int) (bytes float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	var sizes []float64
	for _, of := range []struct {
		service string
		n       int
	}{{service + "warm", 0}, {service + "empty", 0}, {service, n}} {
		c, err := l.follow(ctx, []string{j.Lab.Leader()}, of.service)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, guard(c.close)) }()
		if _, err := await(ctx, c, counting(of.n)); err != nil {
			return 0, fmt.Errorf("%d of %d instances: %w", len(c.addrs()), of.n, err)
		}
		sizes = append(sizes, inUse())
	}
	return (sizes[2] - sizes[1]) - (sizes[1] - sizes[0]), nil
}

// inUse is the heap after garbage collection. The pools of gRPC take three to be emptied.
func inUse() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

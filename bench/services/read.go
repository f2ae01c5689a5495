package services

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/go-kit/kit/sd"
	"github.com/go-kit/kit/sd/lb"
	"github.com/go-kit/log"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/etcdkit/etcdkit/bench/report"
)

const (
	readBound = 5e-9  // seconds, etcdkit's, to read the list
	pickBound = 20e-9 // seconds, etcdkit's, to pick one
	// fillTimeout bounds a consumer's taking in of a whole list.
	fillTimeout = time.Minute
)

// reader is what a library's user does to read the list and to pick one. nil is what it has not.
type reader struct {
	read, pick func() error
	noPick     string // why
	end        func()
}

// read measures reading the list and picking an instance, when nothing changes.
func (j *job) read(ctx context.Context) (*report.Group, error) {
	testing.Init()
	if err := flag.Set("test.benchtime", time.Duration(j.Either(500, 20)*int(time.Millisecond)).String()); err != nil {
		return nil, err
	}
	g := &report.Group{
		Name:    "read",
		Title:   "Read the list, and pick one, when nothing changes",
		Columns: []string{"instances", "read", "allocs", "pick", "allocs"},
	}
	sizes := []int{10, 1000, 10_000, 100_000}
	if j.Quick {
		sizes = []int{10, 1000}
	}
	libraries := append(all(), &raw{label: "raw Get"})
	for _, n := range sizes {
		for i, l := range libraries {
			if n > 10_000 && i > 0 { // etcdkit alone
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			j.Progress.Step(fmt.Sprintf("read of %d", n), l.name(), i+1, len(libraries))
			var cells []report.Cell
			err := guard(func() (err error) {
				cells, err = j.readOf(ctx, l, n)
				return err
			})
			if err != nil {
				cells = []report.Cell{report.Failed(err)}
			}
			g.Add(l.name(), append([]report.Cell{report.Count(float64(n))}, cells...)...)
		}
	}
	g.Note("etcdkit: View.Instances, View.Pick (by weight, and none that is draining). go-zero: Subscriber.Values, an index into it. go-kit: Endpointer.Endpoints, lb.NewRoundRobin over it.")
	g.Note("A list that must be asked for is a request each time: Manager.List (serializable) for naming, a linearizable Get for raw.")
	return g, nil
}

// readOf fills a service and measures one library's reader.
func (j *job) readOf(ctx context.Context, l library, n int) ([]report.Cell, error) {
	service := fmt.Sprintf("read%d", n)
	if err := j.fill(ctx, l, service, n); err != nil {
		return nil, err
	}
	defer j.Lab.Clear(ctx, root+service+"/")
	r, err := j.reader(ctx, l, service, n)
	if err != nil {
		return nil, err
	}
	defer r.end()
	_, isEtcdkit := l.(*etcdkit)
	cells, err := timed(r.read, isEtcdkit, readBound)
	if err != nil {
		return nil, err
	}
	if r.pick == nil {
		return append(cells, report.Words("—", r.noPick)), nil
	}
	picks, err := timed(r.pick, isEtcdkit, pickBound)
	return append(cells, picks...), err
}

// fill writes n instances as a library would.
func (j *job) fill(ctx context.Context, l library, service string, n int) error {
	ops := make([]clientv3.Op, 0, n)
	for i := range n {
		key, value := l.record(service, address(i), address(i))
		ops = append(ops, clientv3.OpPut(key, value))
	}
	return j.Lab.Fill(ctx, ops)
}

// timed measures one call, in time and allocations.
func timed(call func() error, isEtcdkit bool, bound float64) ([]report.Cell, error) {
	var failed error
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				failed = err
				return
			}
		}
	})
	if failed != nil || result.N == 0 {
		return nil, errors.Join(failed, errors.New("the benchmark did not complete"))
	}
	took := report.Seconds(result.T.Seconds() / float64(result.N))
	allocs := report.Count(float64(result.AllocsPerOp()))
	if isEtcdkit {
		took, allocs = took.AtMost(bound), allocs.AtMost(0)
	}
	return []report.Cell{took, allocs}, nil
}

// reader opens a library's consumer, full.
func (j *job) reader(ctx context.Context, l library, service string, n int) (*reader, error) {
	switch l.(type) {
	case *raw:
		return request(func() error {
			_, err := j.Lab.Client.Get(ctx, root+service+"/", clientv3.WithPrefix())
			return err
		}, "a user of clientv3 writes a list and a pick"), nil
	case *naming:
		m, err := endpoints.NewManager(j.Lab.Client, root+service)
		if err != nil {
			return nil, err
		}
		return request(func() error { _, err := m.List(ctx); return err },
			"naming has no pick: gRPC's balancers pick among the connections that its resolver had them make"), nil
	default:
		ctx, cancel := context.WithTimeout(ctx, fillTimeout)
		defer cancel()
		c, err := l.follow(ctx, []string{j.Lab.Leader()}, service)
		if err != nil {
			return nil, err
		}
		if _, err := await(ctx, c, counting(n)); err != nil {
			return nil, errors.Join(fmt.Errorf("%d of %d instances: %w", len(c.addrs()), n, err), c.close())
		}
		return readerOf(c), nil
	}
}

func request(read func() error, noPick string) *reader {
	return &reader{read: read, noPick: noPick, end: func() {}}
}

func readerOf(c consumer) *reader {
	r := &reader{end: func() { _ = guard(c.close) }}
	switch c := c.(type) {
	case *viewConsumer:
		var n int
		r.read = func() error { n += len(c.view.Instances()); return nil }
		r.pick = func() error { _, err := c.view.Pick(); return err }
	case *subscriber:
		var n int
		var next atomic.Uint64
		r.read = func() error { n += len(c.Values()); return nil }
		r.pick = func() error {
			all := c.Values()
			n += len(all[next.Add(1)%uint64(len(all))])
			return nil
		}
	case *instancerConsumer:
		e := sd.NewEndpointer(c.instancer, nopEndpoint, log.NewNopLogger())
		balancer := lb.NewRoundRobin(e)
		r.read = func() error { _, err := e.Endpoints(); return err }
		r.pick = func() error { _, err := balancer.Endpoint(); return err }
		r.end = func() { _ = guard(func() error { e.Close(); return c.close() }) }
	}
	return r
}

func nopEndpoint(string) (endpoint.Endpoint, io.Closer, error) { return endpoint.Nop, nil, nil }

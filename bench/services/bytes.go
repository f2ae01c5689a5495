package services

import (
	"context"
	"errors"
	"fmt"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/internal/gate"
)

// bytes measures what comes to one consumer, through a gate that counts: TCP payload, with gRPC's
// own.
func (j *job) bytes(ctx context.Context) (*report.Group, error) {
	updates, instances := j.Either(200, 20), j.Either(1000, 100)
	g := &report.Group{
		Name:    "bytes",
		Title:   fmt.Sprintf("Bytes received by one consumer: %d updates among %d instances", updates, instances),
		Columns: []string{"value", "connect and first list", fmt.Sprintf("%d updates", updates), "per update", "× raw"},
	}
	var floor float64
	for i, l := range append([]library{&raw{label: "raw Watch"}}, all()...) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var t traffic
		err := guard(func() (err error) {
			t, err = j.traffic(ctx, l, fmt.Sprintf("bytes%d", i), instances, updates)
			return err
		})
		if err != nil {
			g.Add(l.name(), report.Failed(err))
			continue
		}
		each := t.updates / float64(updates)
		if i == 0 {
			floor = each
		}
		g.Add(l.name(), report.Bytes(t.value), report.Bytes(t.first), report.Bytes(t.updates), report.Bytes(each), report.RatioOf(each, floor))
	}
	g.Note("Each update waits until the consumer lists the one before. Values are each library's own format; raw's, go-zero's and go-kit's is the address alone.")
	return g, nil
}

// traffic is what came through the gate.
type traffic struct{ value, first, updates float64 }

func (j *job) traffic(ctx context.Context, l library, service string, instances, updates int) (t traffic, err error) {
	if err := j.fill(ctx, l, service, instances); err != nil {
		return t, err
	}
	g, err := gate.Open(j.Lab.Leader())
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	bounded, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	c, err := l.follow(bounded, []string{g.Addr()}, service)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if _, err := await(bounded, c, counting(instances)); err != nil {
		return t, err
	}
	t.first = float64(g.Received())
	for n := range updates {
		j.Progress.Step("bytes", l.name(), n+1, updates)
		now := address(instances + n)
		key, value := l.record(service, address(n*7%instances), now)
		t.value = float64(len(value))
		if err := j.seen(ctx, c, key, value, now); err != nil {
			return t, fmt.Errorf("update %d of %d: %w", n+1, updates, err)
		}
	}
	t.updates = float64(g.Received()) - t.first
	return t, nil
}

// seen puts a value and waits until the consumer lists its address.
func (j *job) seen(ctx context.Context, c consumer, key, value, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if _, err := j.Lab.Client.Put(ctx, key, value); err != nil {
		return err
	}
	_, err := await(ctx, c, listing(addr))
	return err
}

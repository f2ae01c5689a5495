package services

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/internal/gate"
)

// releaseTimeout bounds what a peer gets to tidy up: some of their calls know no context.
const releaseTimeout = 5 * time.Second

// recovery measures how long a list is wrong after a fault, with every library in the same one.
// Each experiment adds a column.
func (j *job) recovery(ctx context.Context) (*report.Group, error) {
	ttl := time.Duration(j.Either(10, 2)) * time.Second
	watchFor := 4 * ttl
	g := &report.Group{
		Name:  "recovery",
		Title: fmt.Sprintf("Recovery, with a TTL of %v: time until the list is right and stays so", ttl),
		Columns: []string{
			"its lease is revoked", fmt.Sprintf("%v without etcd", 2*ttl), fmt.Sprintf("%d changes and a compaction while cut off", cutChanges),
		},
	}
	bounds := []float64{0.5, 0, 1} // of etcdkit, in seconds; after an outage it is etcd's elections that count
	libraries := []library{&etcdkit{shared: true}, &gozero{}, &gokit{}, &resolving{}}
	cells := make([][]report.Cell, len(libraries))
	for n, run := range []func(context.Context, *experiment) error{
		func(ctx context.Context, e *experiment) error { return e.loseLease(ctx, watchFor/2) },
		func(ctx context.Context, e *experiment) error { return e.outage(ctx, 2*ttl, watchFor) },
		func(ctx context.Context, e *experiment) error {
			return e.cutOff(ctx, time.Duration(j.Either(60, 10))*time.Second)
		},
	} {
		e := &experiment{job: j, ttl: ttl, name: fmt.Sprintf("recovery%d", n), column: g.Columns[n]}
		for _, l := range libraries {
			e.subjects = append(e.subjects, &subject{library: l, service: e.name + fmt.Sprint(len(e.subjects))})
		}
		err := run(ctx, e)
		e.release()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i, p := range e.subjects {
			cell := p.cell(err)
			if i == 0 && bounds[n] > 0 && cell.Words == "" {
				cell = cell.AtMost(bounds[n])
			}
			cells[i] = append(cells[i], cell)
		}
	}
	for i, l := range libraries {
		g.Add(l.name(), cells[i]...)
	}
	g.Note("Right is: etcd has the instance (asked every 10 ms) and the consumer lists it, and nothing else; 0 is a list that was never seen wrong; in the last column, the consumer lists exactly what etcd has.")
	g.Note("Without etcd: all members are killed and started again; the time counts from their serving, and the list is watched until long after the old lease must have ended, which a new leader restarts.")
	g.Note("etcdkit's clients are client.Dial's, the others have clientv3's defaults, with which gRPC waits longer before it connects again. The consumer of etcd naming is naming/resolver. Raw clientv3 recovers nothing.")
	return g, nil
}

// experiment is one experiment, with all libraries in it.
type experiment struct {
	*job
	name, column string
	ttl          time.Duration
	subjects     []*subject
	begin        time.Time // the fault is over, where all have the same
}

// subject is one library in an experiment.
type subject struct {
	library
	service  string
	writer   writer
	leave    func() error
	consumer consumer
	gate     *gate.Gate
	monitor  *monitor
	outcome  outcome
	err      error
	began    time.Time // the fault is over, or done
	watched  time.Duration
}

// each calls do for every subject without an error so far, one after the other.
func (e *experiment) each(do func(*subject) error) {
	for i, p := range e.subjects {
		if p.err == nil {
			e.Progress.Step("recovery: "+e.column, p.name(), i+1, len(e.subjects))
			p.err = guard(func() error { return do(p) })
		}
	}
}

// setUp registers one instance of each library, and has its consumer list it.
func (e *experiment) setUp(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	addrs := e.Lab.Cluster.Endpoints()
	e.each(func(p *subject) (err error) {
		if p.writer, err = p.library.writer(bounded, addrs, e.ttl); err != nil {
			return err
		}
		if p.leave, err = p.writer.register(bounded, p.service, address(1)); err != nil {
			return err
		}
		if p.consumer, err = p.follow(bounded, addrs, p.service); err != nil {
			return err
		}
		if _, err = await(bounded, p.consumer, listing(address(1))); err != nil {
			return err
		}
		p.monitor = startMonitor(ctx, p.consumer, []string{address(1)}, func(ctx context.Context) bool {
			resp, err := e.Lab.Client.Get(ctx, root+p.service+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			return err == nil && resp.Count == 1
		})
		return nil
	})
}

// watch waits, and collects the outcomes.
func (e *experiment) watch(ctx context.Context, length time.Duration) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.NewTimer(length)
	defer end.Stop()
	for n := 1; ; n++ {
		e.Progress.Step("recovery: "+e.column, "watching all, in seconds", n, int(length.Seconds()))
		select {
		case <-tick.C:
			continue
		case <-end.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		break
	}
	e.each(func(p *subject) error {
		p.outcome, p.watched = p.monitor.end(), length
		if p.began.IsZero() {
			p.began = e.begin
		}
		return nil
	})
	return nil
}

// loseLease revokes the lease of each one's instance.
func (e *experiment) loseLease(ctx context.Context, watchFor time.Duration) error {
	e.setUp(ctx)
	e.each(func(p *subject) error {
		ctx, cancel := context.WithTimeout(ctx, lab.Timeout)
		defer cancel()
		resp, err := e.Lab.Client.Get(ctx, root+p.service+"/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		if len(resp.Kvs) != 1 || resp.Kvs[0].Lease == 0 {
			return errors.New("it registered nothing on a lease")
		}
		p.began = time.Now()
		_, err = e.Lab.Client.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
		return err
	})
	return e.watch(ctx, watchFor)
}

// outage stops etcd for a time.
func (e *experiment) outage(ctx context.Context, length, watchFor time.Duration) error {
	e.setUp(ctx)
	e.Progress.Step("recovery: "+e.column, "no etcd", 1, 1)
	if err := e.Lab.Outage(ctx, length); err != nil {
		return err
	}
	e.begin = time.Now()
	return e.watch(ctx, watchFor)
}

const (
	cutInstances = 100
	cutChanges   = 50
	// cutLength is long enough for all to notice, and short enough for gRPC to try again soon.
	cutLength = 3 * time.Second
)

// cutOff cuts the consumers off while the list changes and etcd compacts its history.
func (e *experiment) cutOff(ctx context.Context, watchFor time.Duration) error {
	e.setUpThroughGates(ctx)
	reopen := time.After(cutLength)
	e.each(func(p *subject) error { p.gate.SetTarget(""); return nil })
	e.each(func(p *subject) error { return e.change(ctx, p) })
	if err := e.Lab.Compact(ctx); err != nil {
		return err
	}
	select {
	case <-reopen:
	case <-ctx.Done():
		return ctx.Err()
	}
	e.begin = time.Now()
	e.each(func(p *subject) error { p.gate.SetTarget(e.Lab.Leader()); return nil })
	return e.watch(ctx, watchFor)
}

// setUpThroughGates has each one's consumer list a service, through a gate of its own. The monitor expects
// the list after change.
func (e *experiment) setUpThroughGates(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	var wanted []string
	for i := range cutInstances {
		wanted = append(wanted, address(i+cutChanges/2))
	}
	e.each(func(p *subject) (err error) {
		if err := e.fill(ctx, p.library, p.service, cutInstances); err != nil {
			return err
		}
		if p.gate, err = gate.Open(e.Lab.Leader()); err != nil {
			return err
		}
		if p.consumer, err = p.follow(bounded, []string{p.gate.Addr()}, p.service); err != nil {
			return err
		}
		if _, err = await(bounded, p.consumer, counting(cutInstances)); err != nil {
			return err
		}
		p.monitor = startMonitor(ctx, p.consumer, wanted, nil)
		return nil
	})
}

// change replaces the first instances by new ones, one change after the other.
func (e *experiment) change(ctx context.Context, p *subject) error {
	for i := range cutChanges / 2 {
		gone, _ := p.record(p.service, address(i), address(i))
		key, value := p.record(p.service, address(cutInstances+i), address(cutInstances+i))
		for _, op := range []clientv3.Op{clientv3.OpDelete(gone), clientv3.OpPut(key, value)} {
			if err := e.Lab.Fill(ctx, []clientv3.Op{op}); err != nil {
				return err
			}
		}
	}
	return nil
}

// cell is a subject's outcome; failed is what ended the experiment for all.
func (p *subject) cell(failed error) report.Cell {
	if err := errors.Join(failed, p.err); err != nil {
		return report.Failed(err)
	}
	if p.outcome.right {
		return report.Seconds(max(0, p.outcome.since.Sub(p.began).Seconds()))
	}
	words := fmt.Sprintf("never (watched %.0f s)", p.watched.Seconds())
	if n := len(p.monitor.wanted); n > 1 {
		words += fmt.Sprintf(": lists %d of %d, and %d gone ones", p.outcome.listed, n, p.outcome.gone)
	}
	return report.Words(words, "")
}

// release ends what the experiment has started, all at the same time.
func (e *experiment) release() {
	var wg sync.WaitGroup
	for _, p := range e.subjects {
		wg.Go(func() {
			done := make(chan struct{})
			go func() { // ends with the peer's call, which may wait for etcd without end
				defer close(done)
				_ = guard(p.release)
			}()
			select {
			case <-done:
			case <-time.After(releaseTimeout):
			}
		})
	}
	wg.Wait()
}

func (p *subject) release() error {
	if p.monitor != nil {
		p.monitor.end()
	}
	if p.consumer != nil {
		_ = p.consumer.close()
	}
	if p.leave != nil {
		_ = p.leave()
	}
	if p.writer != nil {
		_ = p.writer.close()
	}
	if p.gate != nil {
		_ = p.gate.Close()
	}
	return nil
}

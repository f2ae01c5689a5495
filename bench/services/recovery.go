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
	patience := 4 * ttl
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
	for n, experiment := range []func(context.Context, *ward) error{
		func(ctx context.Context, w *ward) error { return w.loseLease(ctx, patience/2) },
		func(ctx context.Context, w *ward) error { return w.outage(ctx, 2*ttl, patience) },
		func(ctx context.Context, w *ward) error {
			return w.cutOff(ctx, time.Duration(j.Either(60, 10))*time.Second)
		},
	} {
		w := &ward{job: j, ttl: ttl, name: fmt.Sprintf("recovery%d", n), column: g.Columns[n]}
		for _, l := range libraries {
			w.patients = append(w.patients, &patient{library: l, service: w.name + fmt.Sprint(len(w.patients))})
		}
		err := experiment(ctx, w)
		w.release()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i, p := range w.patients {
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

// ward is one experiment, with all libraries in it.
type ward struct {
	*job
	name, column string
	ttl          time.Duration
	patients     []*patient
	begin        time.Time // the fault is over, where it is everybody's
}

// patient is one library in an experiment.
type patient struct {
	library
	service  string
	writer   writer
	leave    func() error
	consumer consumer
	gate     *gate.Gate
	vigil    *vigil
	verdict  verdict
	err      error
	began    time.Time // the fault is over, or done
	watched  time.Duration
}

// each does something with every patient that is well so far, one after the other.
func (w *ward) each(do func(*patient) error) {
	for i, p := range w.patients {
		if p.err == nil {
			w.Progress.Step("recovery: "+w.column, p.name(), i+1, len(w.patients))
			p.err = guard(func() error { return do(p) })
		}
	}
}

// admit registers one instance of each library, and has its consumer list it.
func (w *ward) admit(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	addrs := w.Lab.Cluster.Endpoints()
	w.each(func(p *patient) (err error) {
		if p.writer, err = p.library.writer(bounded, addrs, w.ttl); err != nil {
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
		p.vigil = keep(ctx, p.consumer, []string{address(1)}, func(ctx context.Context) bool {
			resp, err := w.Lab.Client.Get(ctx, root+p.service+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			return err == nil && resp.Count == 1
		})
		return nil
	})
}

// watch waits and takes the verdicts.
func (w *ward) watch(ctx context.Context, length time.Duration) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.NewTimer(length)
	defer end.Stop()
	for n := 1; ; n++ {
		w.Progress.Step("recovery: "+w.column, "watching all, in seconds", n, int(length.Seconds()))
		select {
		case <-tick.C:
			continue
		case <-end.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		break
	}
	w.each(func(p *patient) error {
		p.verdict, p.watched = p.vigil.end(), length
		if p.began.IsZero() {
			p.began = w.begin
		}
		return nil
	})
	return nil
}

// loseLease revokes the lease of each one's instance.
func (w *ward) loseLease(ctx context.Context, patience time.Duration) error {
	w.admit(ctx)
	w.each(func(p *patient) error {
		ctx, cancel := context.WithTimeout(ctx, lab.Timeout)
		defer cancel()
		resp, err := w.Lab.Client.Get(ctx, root+p.service+"/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		if len(resp.Kvs) != 1 || resp.Kvs[0].Lease == 0 {
			return errors.New("it registered nothing on a lease")
		}
		p.began = time.Now()
		_, err = w.Lab.Client.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
		return err
	})
	return w.watch(ctx, patience)
}

// outage takes etcd away.
func (w *ward) outage(ctx context.Context, length, patience time.Duration) error {
	w.admit(ctx)
	w.Progress.Step("recovery: "+w.column, "no etcd", 1, 1)
	if err := w.Lab.Outage(ctx, length); err != nil {
		return err
	}
	w.begin = time.Now()
	return w.watch(ctx, patience)
}

const (
	cutInstances = 100
	cutChanges   = 50
	// cutLength is long enough for all to notice, and short enough for gRPC to try again soon.
	cutLength = 3 * time.Second
)

// cutOff blocks each one's consumer while the list changes and etcd forgets how.
func (w *ward) cutOff(ctx context.Context, patience time.Duration) error {
	w.admitThroughGates(ctx)
	reopen := time.After(cutLength)
	w.each(func(p *patient) error { p.gate.SetTarget(""); return nil })
	w.each(func(p *patient) error { return w.change(ctx, p) })
	if err := w.Lab.Compact(ctx); err != nil {
		return err
	}
	select {
	case <-reopen:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.begin = time.Now()
	w.each(func(p *patient) error { p.gate.SetTarget(w.Lab.Leader()); return nil })
	return w.watch(ctx, patience)
}

// admitThroughGates has each one's consumer list a service, through a gate of its own. The vigil is
// for what change will make of it.
func (w *ward) admitThroughGates(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	var wanted []string
	for i := range cutInstances {
		wanted = append(wanted, address(i+cutChanges/2))
	}
	w.each(func(p *patient) (err error) {
		if err := w.fill(ctx, p.library, p.service, cutInstances); err != nil {
			return err
		}
		if p.gate, err = gate.Open(w.Lab.Leader()); err != nil {
			return err
		}
		if p.consumer, err = p.follow(bounded, []string{p.gate.Addr()}, p.service); err != nil {
			return err
		}
		if _, err = await(bounded, p.consumer, counting(cutInstances)); err != nil {
			return err
		}
		p.vigil = keep(ctx, p.consumer, wanted, nil)
		return nil
	})
}

// change replaces the first instances by new ones, one change after the other.
func (w *ward) change(ctx context.Context, p *patient) error {
	for i := range cutChanges / 2 {
		gone, _ := p.record(p.service, address(i), address(i))
		key, value := p.record(p.service, address(cutInstances+i), address(cutInstances+i))
		for _, op := range []clientv3.Op{clientv3.OpDelete(gone), clientv3.OpPut(key, value)} {
			if err := w.Lab.Fill(ctx, []clientv3.Op{op}); err != nil {
				return err
			}
		}
	}
	return nil
}

// cell is a patient's outcome; failed is what ended the experiment for all.
func (p *patient) cell(failed error) report.Cell {
	if err := errors.Join(failed, p.err); err != nil {
		return report.Failed(err)
	}
	if p.verdict.right {
		return report.Seconds(max(0, p.verdict.since.Sub(p.began).Seconds()))
	}
	words := fmt.Sprintf("never (watched %.0f s)", p.watched.Seconds())
	if n := len(p.vigil.wanted); n > 1 {
		words += fmt.Sprintf(": lists %d of %d, and %d gone ones", p.verdict.listed, n, p.verdict.gone)
	}
	return report.Words(words, "")
}

// release ends whatever the experiment has left, all at the same time.
func (w *ward) release() {
	var wg sync.WaitGroup
	for _, p := range w.patients {
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

func (p *patient) release() error {
	if p.vigil != nil {
		p.vigil.end()
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

package registry

import (
	"context"
	"fmt"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Register registers one instance with a registrar of its own, which the Registration's Close
// closes.
func Register(ctx context.Context, cli *clientv3.Client, instance Instance, opts *Options) (*Registration, error) {
	r, err := New(cli, opts)
	if err != nil {
		return nil, err
	}
	all, err := r.Register(ctx, instance)
	if err != nil {
		if ctx.Err() == nil {
			_ = r.Close() // what it could not withdraw ends with its lease
		} else {
			go r.Close() // bounded, and the caller does not wait for it
		}
		return nil, err
	}
	all[0].ownsRegistrar = true
	return all[0], nil
}

// Register registers instances, in transactions of up to 127, and returns when all of them are
// in etcd, in the order given. On an error none is: what was written is withdrawn. Their checks,
// if Options has any, run once before that; see AwaitServing for what it waits for then.
//
// An ID that a live process has is ErrExists. One whose process died is taken over at once where its
// record proves that: it ran on this machine and in this pid namespace, since the last boot, and
// there its pid is gone or is another process. Otherwise Register waits until the lease ends, and
// says for which process: in the log, and in the error when ctx ends before.
func (r *Registrar) Register(ctx context.Context, instances ...Instance) ([]*Registration, error) {
	all, err := r.prepare(instances)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if err := r.checks.openAll(ctx, all); err != nil {
		return nil, err
	}
	if err := r.addAndWait(ctx, all); err != nil {
		r.checks.stop(all...)
		return nil, err
	}
	registrations := make([]*Registration, len(all))
	for i, e := range all {
		registrations[i] = &Registration{registrar: r, entry: e}
	}
	return registrations, nil
}

// prepare makes entries of instances.
func (r *Registrar) prepare(instances []Instance) ([]*entry, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	all := make([]*entry, len(instances))
	seen := make(map[string]bool)
	for i, instance := range instances {
		if err := instance.complete(host); err != nil {
			return nil, notRegistered(instance, err)
		}
		instance.Host, instance.PID, instance.process = host, os.Getpid(), thisProcessNow()
		e, err := newEntry(r.prefix, instance, r.checks.all)
		if err != nil {
			return nil, notRegistered(instance, err)
		}
		if seen[e.key] {
			return nil, fmt.Errorf("%w: %s is given twice", ErrInvalid, e.key)
		}
		seen[e.key] = true
		all[i] = e
	}
	return all, nil
}

// notRegistered is the error of an instance that cannot be registered as it is: its names may be any text.
func notRegistered(i Instance, err error) error {
	return errtext.Errorf("registry: register %s: %w", quote.Text(i.Service+"/"+i.ID), err)
}

// addAndWait adds entries to the table and waits until they are in etcd.
func (r *Registrar) addAndWait(ctx context.Context, all []*entry) error {
	t := r.table
	for {
		withdrawing, err := t.add(all, func(e *entry) {
			if e.monitor != nil {
				r.checks.start(e, e.monitor)
			}
		})
		if err != nil {
			return err
		}
		if withdrawing == nil {
			break
		}
		if err := t.waitGone(ctx, withdrawing); err != nil {
			return errtext.Errorf("registry: register %s: it is still being withdrawn: %w", withdrawing.key, err)
		}
	}
	for _, e := range all {
		if err := t.waitStored(ctx, e); err != nil {
			t.startWithdraw(all...)
			for _, e := range all { // unless ctx is done; the worker goes on anyway
				_ = t.waitGone(ctx, e)
			}
			return errtext.Errorf("registry: register %s: %w", e.key, err)
		}
	}
	return nil
}

package registry

import (
	"context"
	"fmt"
	"os"
)

// Register registers instances, in transactions of up to 128, and returns when all of them are
// in etcd, in the order given. On an error none is: what was written is withdrawn. Their checks,
// if Options has any, run once before that; see AwaitServing for what is waited for.
//
// An ID that a live process has is ErrExists. One whose process died is taken over at once where its
// record proves that: it ran on this machine and in this pid namespace, since the last boot, and
// there its pid is gone or is another process. Otherwise Register waits until the lease ends, and
// says for which process: in the log, and in the error when ctx ends before.
func (r *Registrar) Register(ctx context.Context, instances ...Instance) ([]*Registration, error) {
	all, err := r.prepare(instances)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return all, nil
	}
	if err := r.examine(ctx, all); err != nil {
		return nil, err
	}
	if err := r.place(ctx, all); err != nil {
		r.dismiss(entries(all)...)
		return nil, err
	}
	return all, nil
}

// entries are those of registrations.
func entries(all []*Registration) []*entry {
	entries := make([]*entry, len(all))
	for i, reg := range all {
		entries[i] = reg.entry
	}
	return entries
}

// prepare makes entries of instances.
func (r *Registrar) prepare(instances []Instance) ([]*Registration, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	all := make([]*Registration, len(instances))
	seen := make(map[string]bool)
	for i, instance := range instances {
		if err := instance.complete(host); err != nil {
			return nil, err
		}
		instance.Host, instance.PID, instance.process = host, os.Getpid(), registering()
		e, err := newEntry(r.prefix, instance, r.checks)
		if err != nil {
			return nil, err
		}
		if seen[e.key] {
			return nil, fmt.Errorf("%w: %s is given twice", ErrInvalid, e.key)
		}
		seen[e.key] = true
		all[i] = &Registration{registrar: r, entry: e, left: newFirstCall()}
	}
	return all, nil
}

// place makes entries the registrar's and waits until they are in etcd.
func (r *Registrar) place(ctx context.Context, all []*Registration) error {
	for {
		leaving, err := r.admit(all)
		if err != nil {
			return err
		}
		if leaving == nil {
			break
		}
		if err := r.settled(ctx, leaving, true); err != nil {
			return fmt.Errorf("registry: register %s: it is still being withdrawn: %w", leaving.key, err)
		}
	}
	for _, reg := range all {
		if err := r.settled(ctx, reg.entry, false); err != nil {
			for _, reg := range all {
				r.withdraw(reg.entry)
			}
			for _, reg := range all { // unless ctx is done; the worker goes on anyway
				_ = r.settled(ctx, reg.entry, true)
			}
			return fmt.Errorf("registry: register %s: %w", reg.entry.key, err)
		}
	}
	return nil
}

// admit makes entries the registrar's, unless one of their keys is still being withdrawn.
func (r *Registrar) admit(all []*Registration) (leaving *entry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosing() || r.etcd.Err() != nil {
		return nil, fmt.Errorf("registry: register %s: %w", all[0].entry.key, r.closedError())
	}
	for _, reg := range all {
		if e := r.entries[reg.entry.key]; e != nil && e.leaving {
			return e, nil
		}
	}
	for i, reg := range all {
		release, ok := r.keeper.Claim(reg.entry.key)
		if ok {
			reg.entry.unclaim = release
			continue
		}
		for _, reg := range all[:i] {
			reg.entry.unclaim()
		}
		return nil, fmt.Errorf("registry: register %s: %w: by this process (pid %d)", reg.entry.key, ErrExists, os.Getpid())
	}
	for _, reg := range all {
		r.entries[reg.entry.key] = reg.entry
		reg.entry.all = r.losses
		r.services[reg.entry.service()]++
		r.touch(reg.entry)
		if m := reg.entry.monitor; m != nil {
			r.attend(reg.entry, m)
		}
	}
	return nil, nil
}

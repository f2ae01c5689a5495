package registry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/logbuffer"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// table has the entries of a Registrar. The parts of the Registrar meet only here: callers change what is
// wanted and wait, the worker writes, and the watcher reports what other clients did.
//
// Lock order: entry.updating, table.mu, then the watcher's, the log buffer's and the Keeper's.
type table struct {
	cli        *clientv3.Client
	etcd       *ask.Client
	keeper     *lease.Keeper
	log        *logbuffer.Buffer
	watcher    *watcher
	wake       chan struct{} // there is work for the worker
	addsClosed chan struct{} // closed when no entry may be added any more
	ended      chan struct{} // closed when the worker has ended, so that nothing is written any more

	mu            sync.Mutex
	entries       map[string]*entry // by key
	services      map[string]int    // the number of entries, by the prefix of a service
	dirty         map[*entry]bool   // entries that may need work
	losses        map[Loss]uint64   // of all entries, also of those that were withdrawn
	closing       bool              // all entries are being withdrawn
	closeReturned bool              // Close has returned: no caller waits for keys any longer
}

func newTable(cli *clientv3.Client, keeper *lease.Keeper, log *slog.Logger) *table {
	return &table{
		cli: cli, etcd: ask.Of(cli), keeper: keeper, log: logbuffer.New(log),
		wake: make(chan struct{}, 1), addsClosed: make(chan struct{}), ended: make(chan struct{}),
		entries: make(map[string]*entry), services: make(map[string]int), dirty: make(map[*entry]bool), losses: make(map[Loss]uint64),
	}
}

// addsAreClosed reports whether nothing may be added any more. t.mu is held.
func (t *table) addsAreClosed() bool {
	select {
	case <-t.addsClosed:
		return true
	default:
		return false
	}
}

// closedError is ErrClosed, with what was closed if that is not the registrar.
func (t *table) closedError() error {
	if err := t.etcd.Err(); err != nil {
		return errtext.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}

// add adds entries, all or none, and calls added for each before the worker sees it. If one of their keys
// is still being withdrawn it adds none, and returns that key's entry.
func (t *table) add(all []*entry, added func(*entry)) (withdrawing *entry, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.addsAreClosed() || t.etcd.Err() != nil {
		return nil, errtext.Errorf("registry: register %s: %w", all[0].key, t.closedError())
	}
	for _, e := range all {
		if e := t.entries[e.key]; e != nil && e.withdrawing {
			return e, nil
		}
	}
	for i, e := range all {
		unclaim, ok := t.keeper.Claim(e.key)
		if ok {
			e.unclaim = unclaim
			continue
		}
		for _, e := range all[:i] {
			e.unclaim()
		}
		return nil, errtext.Errorf("registry: register %s: %w", e.key, errRegisteredHere())
	}
	for _, e := range all {
		t.entries[e.key] = e
		t.services[e.service]++
		t.markDirty(e)
		added(e)
	}
	return nil, nil
}

// remove removes an entry whose key is not ours any more. t.mu is held.
func (t *table) remove(e *entry) {
	if e.lease != nil {
		e.lease.Unreserve(1)
		e.lease = nil
	}
	e.written, e.withdrawn = false, true
	if t.entries[e.key] == e {
		delete(t.entries, e.key)
		e.unclaim()
		if service := e.service; t.services[service] > 1 {
			t.services[service]--
		} else {
			delete(t.services, service)
		}
	}
	t.watcher.unwatch(e)
	e.notify()
	if t.closing {
		t.wakeWorker() // it may have been the last
	}
}

// markDirty has the worker look at an entry now. t.mu is held.
func (t *table) markDirty(e *entry) {
	t.dirty[e] = true
	e.nextTry = time.Time{}
	t.wakeWorker()
}

func (t *table) wakeWorker() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// note keeps a line for the log, which the worker writes.
func (t *table) note(level slog.Level, text string, attrs ...any) {
	t.log.Add(level, text, attrs...)
	t.wakeWorker()
}

// noteEntries is note, in one line, for entries to which the same happened: a lease that ends takes up to
// 1,000 keys with it.
func (t *table) noteEntries(level slog.Level, text string, entries []*entry, name string, value any) {
	attrs := []any{"key", entries[0].key}
	if more := len(entries) - 1; more > 0 {
		attrs = append(attrs, "more", more)
	}
	t.note(level, text, append(attrs, name, value)...)
}

// waitStored returns when the entry is in etcd as it should be.
func (t *table) waitStored(ctx context.Context, e *entry) error {
	return t.wait(ctx, e, func() error {
		if e.withdrawing {
			return ErrClosed // another call withdraws it
		}
		return e.finalErr
	})
}

// waitGone returns when an entry that leaves is not in etcd any more.
func (t *table) waitGone(ctx context.Context, e *entry) error {
	return t.wait(ctx, e, func() error { return e.finalErr })
}

// wait returns when the entry is as wanted, or waiting on does not help, which final says with t.mu held.
func (t *table) wait(ctx context.Context, e *entry, final func() error) error {
	for {
		t.mu.Lock()
		done, err, changed := e.asWanted(), final(), e.changed
		t.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-t.ended:
			t.mu.Lock()
			defer t.mu.Unlock()
			if e.asWanted() {
				return nil
			}
			return t.closedError()
		case <-ctx.Done():
			return t.gaveUp(ctx, e)
		}
	}
}

// gaveUp is the error of a caller that does not wait any longer.
func (t *table) gaveUp(ctx context.Context, e *entry) error {
	t.mu.Lock()
	last := e.lastErr
	t.mu.Unlock()
	if last == nil {
		last = t.keeper.Stats().GrantErr
	}
	if last != nil && ask.IsAnswer(last) || errors.Is(last, errOwned) || errors.Is(last, ErrExists) {
		return errtext.Errorf("%w; at %s: %w", context.Cause(ctx), quote.Joined(t.cli.Endpoints(), 10), last)
	}
	return t.etcd.GaveUp(ctx, last)
}

// startWithdraw asks for the end of entries.
func (t *table) startWithdraw(all ...*entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range all {
		e.withdrawing, e.lastErr, e.finalErr, e.notBefore = true, nil, nil, time.Time{}
		e.notify()
		t.markDirty(e)
	}
}

// instance is what is wanted of an entry, without what its checks found.
func (t *table) instance(e *entry) Instance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.instance.clone()
}

// all are the present entries.
func (t *table) all() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.entries))
}

// setStored records that an entry's value is in etcd. t.mu is held.
func (t *table) setStored(e *entry, value record, revision int64) {
	if changed := e.setStored(value, revision); changed {
		t.markLost(keyChanged, e)
	}
}

// watch has an entry watched that was just written. t.mu is held.
func (t *table) watch(e *entry) {
	missed := t.watcher.watchKey(e, t.services[e.service])
	if missed && e.written {
		e.unverified = true
		t.markDirty(e)
	}
}

// markLost records that keys are not ours any more. t.mu is held.
func (t *table) markLost(l lossCause, entries ...*entry) {
	entries = slices.DeleteFunc(entries, func(e *entry) bool { return !e.setLost(l) })
	if len(entries) == 0 {
		return
	}
	t.losses[l.kind] += uint64(len(entries))
	t.noteEntries(slog.LevelWarn, "registration lost", entries, "because", l.text)
}

// markLeaseEnded is markLost for keys of a lease that ended. t.mu is held.
func (t *table) markLeaseEnded(l *lease.Lease, entries ...*entry) {
	t.markLost(lossCause{LossLease, leaseEnded.text + ": " + errtext.Text(l.Err())}, entries...)
}

// markUnverified has the entries below a key or prefix looked at. t.mu is held.
func (t *table) markUnverified(below string) {
	for key, e := range t.entries {
		if e.written && !e.withdrawing && strings.HasPrefix(key, below) {
			e.unverified = true
			t.markDirty(e)
		}
	}
}

// onLeaseEnd has the entries of a lease that ended written on another one.
func (t *table) onLeaseEnd(l *lease.Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if e.lease == l {
			t.markDirty(e)
		}
	}
}

// applyEvents records what happened to keys.
func (t *table) applyEvents(events []*clientv3.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ev := range events {
		e := t.entries[string(ev.Kv.Key)]
		if e == nil || ev.Kv.ModRevision <= e.revision {
			continue
		}
		put := ev.Type == clientv3.EventTypePut
		if put && e.onOurLease(ev.Kv) {
			// Our own write: its answer is still on its way, or it was given up.
			e.unverified = e.written
			t.markDirty(e)
			continue
		}
		e.othersRevision = max(e.othersRevision, ev.Kv.ModRevision)
		if e.withdrawing {
			continue
		}
		switch {
		case !put:
			t.markLost(keyDeleted, e)
			t.markDirty(e)
		case e.written:
			t.markLost(keyTaken, e)
			t.markDirty(e)
		}
	}
}

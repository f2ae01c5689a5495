package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// lookEvery is how often a waiting entry looks for itself, should its watch be silent.
const lookEvery = 5 * time.Second

// Await returns when it is the entry's turn, with the caller's reads made at that time or later.
// ErrLost ends it when the entry is gone or its lease has ended. When ctx ends first, the entry is
// removed in the background.
func (q *Queue) Await(ctx context.Context, e *Entry) error {
	if q.turn(e) && e.Lease.Err() == nil { // as a rule without others
		return nil
	}
	held, cancel := lifetime(ctx, e.Lease)
	defer cancel()
	err := q.await(held, e)
	if lost := e.Lease.Err(); lost != nil {
		q.Remove(e)
		return fmt.Errorf("%w: %w", ErrLost, lost)
	}
	if err == nil {
		return nil
	}
	q.Remove(e)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// turn tells whether nobody is ahead and the caller's reads are made.
func (q *Queue) turn(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return e.Revision != 0 && !e.gone && e.clear() && (e.fresh || len(e.Wanted) == 0)
}

func (q *Queue) await(ctx context.Context, e *Entry) error {
	for p := (pause{}); !q.turn(e); {
		q.mu.Lock()
		gone, ahead, clear, at := e.gone, len(e.ahead), e.clear(), e.at
		q.mu.Unlock()
		if gone {
			return fmt.Errorf("%w: somebody deleted it", ErrLost)
		}
		var err error
		switch {
		case clear && q.saw(ctx, e):
		case clear:
			err = q.Look(ctx, e, at)
		case ahead <= few || e.Kind.Size > 0: // of which any may leave next
			err = q.listen(ctx, e)
		default:
			err = q.follow(ctx, e)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
		case Refused(err):
			return err // what the caller wants to read cannot be
		default:
			p.wait(ctx)
		}
	}
	return nil
}

// listen waits until the entry has moved, or there is another reason to look at it again.
func (q *Queue) listen(ctx context.Context, e *Entry) error {
	a := q.lend(e)
	defer q.withdraw(e)
	silent := time.NewTimer(tryTimeout)
	defer silent.Stop()
	select {
	case <-a.open:
	case <-a.done:
		return errors.Join(errSilent, q.Look(ctx, e, now))
	case <-silent.C:
		q.renew(a)
		return errors.Join(errSilent, q.Look(ctx, e, now))
	case <-ctx.Done():
		return ctx.Err()
	}
	q.mu.Lock()
	missed := e.at < a.from
	if !missed {
		for key := range e.ahead {
			e.hears(key, a.deleted[key])
		}
		e.hears(e.Key, a.deleted[e.Key])
	}
	q.mu.Unlock()
	if missed { // what was deleted before it heard
		return q.Look(ctx, e, a.from)
	}
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	select {
	case <-e.moved:
		return nil
	case <-a.done:
		return nil
	case <-look.C:
		return q.insure(ctx, e, a)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errSilent = errors.New("queue: the watch does not open")

// insure looks whether the entry has moved and the watch did not say so.
func (q *Queue) insure(ctx context.Context, e *Entry, a *ear) error {
	q.mu.Lock()
	ahead, last := len(e.ahead), e.last
	q.mu.Unlock()
	err := q.Look(ctx, e, now)
	q.mu.Lock()
	moved := e.gone || len(e.ahead) < ahead || e.last != last
	q.mu.Unlock()
	if err == nil && moved {
		q.renew(a)
	}
	return err
}

// follow waits until the entry before this one is gone, with a watch of its own, and looks.
func (q *Queue) follow(ctx context.Context, e *Entry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	before, at := e.last, e.at
	q.tire(q.ear) // so many deletions are not worth hearing
	watching := q.watching(ctx)
	opened := make(chan clientv3.WatchChan, 1)
	q.start(func() { // ends with ctx: it waits for an answer
		opened <- q.cli.Watch(watching, before.key, clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	})
	q.mu.Unlock()
	silent, look := time.NewTimer(tryTimeout), time.NewTimer(lookEvery)
	defer silent.Stop()
	defer look.Stop()
	var watch clientv3.WatchChan
	for {
		select {
		case watch = <-opened:
			silent.Stop()
		case resp, ok := <-watch:
			if !ok || resp.Canceled {
				return errors.Join(errSilent, q.Look(ctx, e, now))
			}
			if resp.Created && resp.Header.Revision > at { // what it did not see
				there, err := q.there(ctx, before, resp.Header.Revision)
				if err != nil {
					return err
				}
				if !there {
					return q.Look(ctx, e, resp.Header.Revision)
				}
			}
			for _, ev := range resp.Events {
				if ev.Kv.ModRevision > at { // a member that lags behind tells of an earlier entry with this key
					return q.Look(ctx, e, ev.Kv.ModRevision)
				}
			}
		case <-silent.C:
			q.renew(nil)
			return errors.Join(errSilent, q.Look(ctx, e, now))
		case <-look.C:
			return q.insure(ctx, e, nil)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// there tells whether an entry was there at a revision or later.
func (q *Queue) there(ctx context.Context, p predecessor, least int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	resp, err := q.cli.Get(ctx, p.key, clientv3.WithKeysOnly(), clientv3.WithSerializable())
	if err == nil && resp.Header.Revision < least {
		resp, err = q.cli.Get(ctx, p.key, clientv3.WithKeysOnly())
	}
	return err == nil && len(resp.Kvs) > 0 && resp.Kvs[0].CreateRevision == p.revision, err
}

package queue

import (
	"context"
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
	switch lost := e.Lease.Err(); {
	case lost != nil:
		q.free(e)
		return fmt.Errorf("%w: %w", ErrLost, lost)
	case err == nil:
		return nil
	case ctx.Err() != nil:
		q.Remove(e)
		return context.Cause(ctx)
	default:
		q.free(e)
		return err
	}
}

// turn tells whether nobody is ahead and the caller's reads are made.
func (q *Queue) turn(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return e.Revision != 0 && !e.gone && len(e.ahead) == 0 && (e.fresh || len(e.Wanted) == 0)
}

func (q *Queue) await(ctx context.Context, e *Entry) error {
	for p := (pause{}); !q.turn(e); {
		q.mu.Lock()
		gone, ahead, at := e.gone, len(e.ahead), e.at
		q.mu.Unlock()
		if gone {
			return fmt.Errorf("%w: somebody deleted it", ErrLost)
		}
		var err error
		switch {
		case ahead == 0 && q.saw(ctx, e):
		case ahead == 0:
			err = q.Look(ctx, e, at)
		case ahead <= few:
			err = q.listen(ctx, e)
		default:
			err = q.follow(ctx, e)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			p.wait(ctx)
		}
	}
	return nil
}

// listen waits until the entry has moved, or there is another reason to look at it again.
func (q *Queue) listen(ctx context.Context, e *Entry) error {
	a := q.lend(e)
	defer q.withdraw(e)
	select {
	case <-a.open:
	case <-a.done:
		return errSilent
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
		return q.Look(ctx, e, now)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errSilent = fmt.Errorf("queue: the watch did not open")

// follow waits until the entry before this one is gone, with a watch of its own, and looks.
func (q *Queue) follow(ctx context.Context, e *Entry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	before, at := e.last, e.at
	q.tire(q.ear) // so many deletions are not worth hearing
	q.mu.Unlock()
	watch := q.cli.Watch(clientv3.WithRequireLeader(ctx), before.key, clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	for {
		select {
		case resp, ok := <-watch:
			if !ok || resp.Canceled {
				return errSilent
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
			if len(resp.Events) > 0 {
				return q.Look(ctx, e, resp.Events[0].Kv.ModRevision)
			}
		case <-look.C:
			return q.Look(ctx, e, now)
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

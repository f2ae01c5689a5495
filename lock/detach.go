package lock

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Detached is a lock that is held in etcd, but by no process: for a job of several processes that run one
// after the other, such as the lines of a script. Each of them opens it by its text, which the one before
// passed on.
//
//	d, err := h.Detach(ctx, time.Minute) // in the first process
//	fmt.Println(d)                       // its text
//
//	d, err := lock.OpenDetached(cli, text) // in a later one
//	left, err := d.Renew(ctx)
//	err = d.Release(ctx)
//
// The lock is held for the TTL after Detach or the last Renew, and no process is told when that is over. What
// the job writes is safe with the guard or the token, as that of a Hold is. Its methods may be called from any
// goroutine.
type Detached struct {
	cli   *clientv3.Client
	names resumeToken
}

// Detach ends the hold in this process, and leaves the lock held in etcd for ttl: on a lease of its own, which
// nothing renews but Detached.Renew. The fencing token stays the same. It works for all kinds of locks; that of a
// Mutex can be taken back with Resume and Detached.ResumeToken.
//
// The ttl is of whole seconds, 2 s to ten years; otherwise the error is ErrInvalid, and the hold goes on. After
// any other error the hold has ended, and the lock is released in the background, as by Release: also by Close
// of the lock, within its bound. Detach takes until ctx ends, and 10 s at most.
//
// After ErrUnknown etcd did not answer, and the lock may be detached: then it is held until that release
// reaches etcd, or for ttl. The Detached is returned as well, for a process that ends before it does: a
// Release of it that returns nil or ErrLost says that the lock is not held, and stays so.
func (h *Hold) Detach(ctx context.Context, ttl time.Duration) (*Detached, error) {
	const verb = "detach a hold of"
	if !isPeriod(ttl) {
		return nil, fmt.Errorf("%w: detach a hold of %q for %v: want whole seconds, %v to %v", ErrInvalid, h.Name(), ttl, leastPeriod, mostPeriod)
	}
	if !h.held.ClaimEnd() {
		return nil, h.lock.handle.Errorf(verb, "%w", ErrReleased)
	}
	h.released.Store(true)
	if m := h.mutex; m != nil {
		m.mu.Lock()
		m.forget(h.held.Entry())
		m.mu.Unlock()
		defer m.wakeNext()
	}
	var o owner
	_ = json.Unmarshal([]byte(h.held.Entry().Value), &o) // this process wrote it
	o.Acquired, o.Nonce = stamp(h.held.Began()), rand.Text()
	on, err := h.held.Detach(ctx, ttl, o.text())
	d := &Detached{h.lock.handle.Client, resumeToken{Key: h.Key(), Revision: h.Token(), Nonce: o.Nonce}}
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, ErrUnknown):
		d.names.Lease = on
		return d, h.lock.handle.Ended(verb, err)
	}
	return nil, h.lock.handle.Ended(verb, err)
}

// OpenDetached returns the lock that the text of a Detached means. It sends nothing. ErrInvalid: it is no
// such text.
func OpenDetached(cli *clientv3.Client, text string) (*Detached, error) {
	d := &Detached{cli: cli}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || json.Unmarshal(b, &d.names) != nil || d.names.Nonce == "" || d.names.Revision <= 0 || !strings.Contains(d.names.Key, "/") {
		return nil, fmt.Errorf("%w: open the detached lock %s: want the text that Detach gave", ErrInvalid, quote.Text(text))
	}
	return d, nil
}

// String is the text that names the lock to another process: letters, digits, minus and underscore. Pass it
// on to those alone that may renew and release the lock.
func (d *Detached) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(d.ResumeToken()))
}

// ResumeToken is what Resume of a Mutex takes: its process keeps the lock alive from then on, and d is ErrLost.
func (d *Detached) ResumeToken() string {
	return d.names.text()
}

// Name is the name of the lock.
func (d *Detached) Name() string { return d.names.Key[:strings.LastIndexByte(d.names.Key, '/')] }

// Key is as [Hold.Key].
func (d *Detached) Key() string { return d.names.Key }

// Token is as [Hold.Token].
func (d *Detached) Token() int64 { return d.names.Revision }

// Guard is as [Hold.Guard].
func (d *Detached) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(d.names.Key), "=", d.names.Revision)
}

// Renew has the lock held for the TTL from now on, and tells how long that is. The error is ErrLost if the
// lock is not held any longer: its TTL was over, another client deleted its key, or it was released or
// resumed. After another error it is held for what was left.
func (d *Detached) Renew(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	left, err := d.entry().Renew(ctx, d.cli)
	return left, d.explain("renew", err)
}

// Release gives the lock to the next waiter. The error is ErrLost if it was not held any longer. After another
// error it may be held for what is left of its TTL.
func (d *Detached) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	return d.explain("release", d.entry().Remove(ctx, d.cli))
}

func (d *Detached) entry() *queue.Detached {
	return &queue.Detached{Key: d.names.Key, Revision: d.names.Revision, Lease: d.names.Lease, Is: func(value string) bool {
		var o owner
		return json.Unmarshal([]byte(value), &o) == nil && o.Nonce == d.names.Nonce
	}}
}

func (d *Detached) explain(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, queue.ErrLost):
		return errtext.Errorf("lock: %s %q: %w: %w", verb, d.Name(), ErrLost, err)
	}
	return errtext.Errorf("lock: %s %q: %w", verb, d.Name(), queue.Where(d.cli, err))
}

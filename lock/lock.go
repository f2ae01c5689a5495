package lock

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrLost: the lock is not held any longer, or must be taken for lost: its lease ended, or
	// somebody deleted its key. What a Commit was to write was not written.
	ErrLost = errors.New("lock: ownership lost")
	// ErrTaken: TryAcquire found the lock held or waited for. The error names by whom.
	ErrTaken = errors.New("lock: taken")
	// ErrReleased: the hold was released, by Release or Commit.
	ErrReleased = errors.New("lock: released")
	// ErrUnknown: a Commit was not answered, and whether it was carried out could not be found
	// out. The hold is over.
	ErrUnknown = errors.New("lock: outcome unknown")
	// ErrName: the name cannot be one. Nothing was sent.
	ErrName = errors.New("lock: bad name")
	// ErrOp: something other than a Get was to be read with the lock. Nothing was sent.
	ErrOp = errors.New("lock: bad operation")
	// ErrClosed: the Mutex was closed.
	ErrClosed = errors.New("lock: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long the lock outlives a process that died or stands still. Default 10 s; etcd's
	// minimum is 2 s. Without effect beside a Keeper.
	TTL time.Duration
	// Keeper is a shared one; it stays open. Default one of the Mutex's own.
	Keeper *lease.Keeper
}

// Mutex is a lock in etcd, as this process sees it. Its methods may be called from any goroutine;
// those of one Mutex wait in this process, in the order in which they came, and one of them at a
// time in etcd.
type Mutex struct {
	name   string
	cli    *clientv3.Client
	bad    error // the name
	queue  *queue.Queue
	keeper *lease.Keeper
	own    bool
	who    owner
	close  func() error

	life context.Context // ends with Close, with cause ErrClosed
	end  context.CancelCauseFunc

	mu        sync.Mutex
	busy      bool // somebody holds it, or waits in etcd
	line      []*waiter
	closed    bool
	acquiring sync.WaitGroup // calls that have not returned; none begins once closed
}

// waiter waits in this process.
type waiter struct {
	wanted []clientv3.Op
	turn   chan *queue.Entry // its entry, or nil: it has to make one
}

// New returns the lock of a name. It sends nothing. Locks of the same name exclude one another,
// clientv3/concurrency's Mutex and "etcdctl lock" included. A name that is not one is ErrName
// from the first call.
func New(cli *clientv3.Client, name string, opts *Options) *Mutex {
	var o Options
	if opts != nil {
		o = *opts
	}
	m := &Mutex{name: name, cli: cli, bad: validName(name), keeper: o.Keeper, who: self()}
	if m.keeper == nil {
		m.keeper, m.own = lease.NewKeeper(cli, &lease.Options{TTL: o.TTL}), true
	}
	m.queue = queue.New(cli, m.keeper, name)
	m.life, m.end = context.WithCancelCause(context.Background())
	m.close = sync.OnceValue(m.shutdown)
	return m
}

func validName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case strings.HasSuffix(name, "/"):
		return fmt.Errorf("%w %q: it ends in a slash, and its keys would begin with two", ErrName, name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%w %q: it contains a NUL byte", ErrName, name)
	case len(name) > 1000:
		return fmt.Errorf("%w %.40q…: it has %d bytes, want 1,000 at the most", ErrName, name, len(name))
	}
	return nil
}

// Acquire waits until the lock is held. reads, which are Gets, ride on the request that finds that
// out, so that they cost nothing: what they saw is in Hold.Reads, and nobody else who holds the
// lock has written since.
//
// When ctx ends first, the place in the queue is given up in the background, and the error wraps
// its cause. A lease that is lost while waiting is ErrLost: the lock is never taken anew for a
// caller who believes to have waited all the time.
func (m *Mutex) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if err := m.check(reads); err != nil {
		return nil, err
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := m.front(ctx, reads)
	if err == nil {
		e, err = m.reach(ctx, e, reads)
		if err != nil {
			m.pass()
		}
	}
	if err != nil {
		return nil, m.explain("acquire", err)
	}
	return newHold(m, e), nil
}

func (m *Mutex) check(reads []clientv3.Op) error {
	if m.bad != nil {
		return m.bad
	}
	for _, op := range reads {
		if !op.IsGet() {
			return fmt.Errorf("%w: only Gets can ride on an Acquire", ErrOp)
		}
	}
	return nil
}

// begin takes note of a call, which Close ends and waits for; done is to be called when it returns.
func (m *Mutex) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, ErrClosed
	}
	m.acquiring.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.life, func() { cancel(context.Cause(m.life)) })
	return ctx, func() {
		stop()
		cancel(nil)
		m.acquiring.Done()
	}, nil
}

// explain makes an error of the queue one of the lock.
func (m *Mutex) explain(what string, err error) error {
	if errors.Is(err, queue.ErrLost) {
		return fmt.Errorf("%w: %s %q: %w", ErrLost, what, m.name, err)
	}
	if closed := context.Cause(m.life); closed != nil && !errors.Is(err, closed) {
		err = fmt.Errorf("%w: %w", closed, err)
	}
	return fmt.Errorf("lock: %s %q at %q: %w", what, m.name, m.cli.Endpoints(), err)
}

// front waits until it is the caller's turn in this process. The entry is nil unless the one
// before has brought it into the queue already.
func (m *Mutex) front(ctx context.Context, wanted []clientv3.Op) (*queue.Entry, error) {
	m.mu.Lock()
	if !m.busy {
		m.busy = true
		m.mu.Unlock()
		return nil, nil
	}
	w := &waiter{wanted, make(chan *queue.Entry, 1)}
	m.line = append(m.line, w)
	m.mu.Unlock()
	select {
	case e := <-w.turn:
		return e, nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	at := slices.Index(m.line, w)
	if at >= 0 {
		m.line = slices.Delete(m.line, at, at+1)
	}
	m.mu.Unlock()
	if at < 0 { // its turn comes, with the answer to the release before
		m.queue.Go(func() {
			if e := <-w.turn; e != nil {
				m.queue.Remove(e)
			}
			m.pass()
		})
	}
	return nil, context.Cause(ctx)
}

// reach brings the entry into the queue, if it is not there, and to its head.
func (m *Mutex) reach(ctx context.Context, e *queue.Entry, wanted []clientv3.Op) (*queue.Entry, error) {
	for e == nil || e.Revision == 0 { // or the transaction that was to bring it there was not answered
		if e == nil {
			l, err := m.keeper.Lease(ctx)
			if err != nil {
				return nil, err
			}
			e = m.prepare(l, wanted)
		}
		switch err := m.queue.Enter(ctx, e); {
		case errors.Is(err, queue.ErrLost):
			e = nil // it had no place to lose yet
		case err != nil:
			return nil, err
		}
	}
	return e, m.queue.Await(ctx, e)
}

func (m *Mutex) prepare(l *lease.Lease, wanted []clientv3.Op) *queue.Entry {
	return m.queue.Prepare(l, m.who.record(), wanted)
}

// pass lets the next one in this process have its turn.
func (m *Mutex) pass() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.next(); w != nil {
		w.turn <- nil
		return
	}
	m.busy = false
}

// next takes the first waiter out of the line. m.mu is held.
func (m *Mutex) next() *waiter {
	if len(m.line) == 0 {
		return nil
	}
	w := m.line[0]
	m.line = m.line[1:]
	return w
}

// TryAcquire takes the lock if nobody holds it or waits for it, with one request, and is ErrTaken
// otherwise, having written nothing. The error names the owner.
func (m *Mutex) TryAcquire(ctx context.Context) (*Hold, error) {
	if err := m.check(nil); err != nil {
		return nil, err
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	m.mu.Lock()
	busy := m.busy
	m.busy = true
	m.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("%w: %q, by this process (pid %d)", ErrTaken, m.name, os.Getpid())
	}
	e, err := m.try(ctx)
	if err != nil {
		m.pass()
		return nil, err
	}
	return newHold(m, e), nil
}

func (m *Mutex) try(ctx context.Context) (*queue.Entry, error) {
	for again := false; ; again = true {
		l, err := m.keeper.Lease(ctx)
		if err != nil {
			return nil, m.explain("try", err)
		}
		e := m.prepare(l, nil)
		owner, err := m.queue.EnterEmpty(ctx, e)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && !again:
			_ = l.Confirm(ctx) // it was revoked, and the next one is another
		case err != nil:
			return nil, m.explain("try", err)
		case owner != nil:
			return nil, fmt.Errorf("%w: %q, by %s", ErrTaken, m.name, describe(owner))
		default:
			return e, nil
		}
	}
}

// Do holds the lock while it calls f, whose ctx ends with cause ErrLost when the lock is lost.
// The error is f's, and ErrLost if the lock was lost meanwhile.
func (m *Mutex) Do(ctx context.Context, f func(context.Context, *Hold) error) (err error) {
	h, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	held, end := context.WithCancelCause(ctx)
	defer end(nil)
	watching := make(chan struct{})
	go func() { // ends with the hold
		defer close(watching)
		<-h.Done()
		if err := h.Err(); errors.Is(err, ErrLost) {
			end(err)
		}
	}()
	defer func() { // of a panic, too
		lost := h.Err()
		if err := h.Release(context.WithoutCancel(ctx)); lost == nil { // bounded
			lost = err
		}
		<-watching
		if errors.Is(lost, ErrLost) {
			err = errors.Join(err, lost)
		}
	}()
	return f(held, h)
}

// closePatience is for what is to be removed from etcd before Close returns, if its lease goes on.
const closePatience = 3 * time.Second

// Close ends the Mutex. Who waits is ErrClosed, and leaves the queue. The caller's holds are to be
// released before: one that is not ends with its lease, which is revoked unless the Keeper is a
// shared one. Close is idempotent.
func (m *Mutex) Close() error { return m.close() }

func (m *Mutex) shutdown() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.end(ErrClosed)
	m.acquiring.Wait()
	if m.own {
		m.queue.Close(0)
		return m.keeper.Close()
	}
	m.queue.Close(closePatience)
	return nil
}

// owner is what people can read of who holds or waits.
type owner struct {
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Since    string `json:"since"`              // in the queue
	Acquired string `json:"acquired,omitempty"` // of a hold that has lasted for long
	Nonce    string `json:"nonce"`
}

func self() owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return owner{Host: host, PID: os.Getpid(), Command: filepath.Base(os.Args[0])}
}

// record is the value of a new entry.
func (o owner) record() string {
	o.Since, o.Nonce = now(), rand.Text()
	return o.text()
}

// acquired is a record that also tells since when the lock is held.
func acquired(record, since string) string {
	var o owner
	if err := json.Unmarshal([]byte(record), &o); err != nil {
		panic(err) // of this process
	}
	o.Acquired = since
	return o.text()
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

func (o owner) text() string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and a number
	}
	return string(b)
}

// describe tells who has a key.
func describe(kv *queue.KeyValue) string {
	var o owner
	if json.Unmarshal(kv.Value, &o) != nil || o.PID == 0 {
		return fmt.Sprintf("somebody who does not say who it is, with the key %q", kv.Key)
	}
	return fmt.Sprintf("%s (pid %d on host %s) since %s", o.Command, o.PID, o.Host, cmp.Or(o.Acquired, o.Since))
}

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
	"strconv"
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
	// ErrSize: a Semaphore of this name counts to another size somewhere. The error names both.
	ErrSize = errors.New("lock: different sizes")
	// ErrNested: the lock was asked for within Do or DoRead of the same lock, with its context: it
	// would wait for itself.
	ErrNested = errors.New("lock: held by the caller already")
	// ErrClosed: the lock was closed.
	ErrClosed = errors.New("lock: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long the lock outlives a process that died or stands still. Default 10 s; etcd's
	// minimum is 2 s. Without effect beside a Keeper.
	TTL time.Duration
	// Keeper is a shared one; it stays open. Default one of the lock's own.
	Keeper *lease.Keeper
	// Local has goroutines of this process hand a Mutex on without a word to etcd. Default off.
	Local Local
	// Linger is for how long a Mutex keeps its entry in etcd after a Release, if nobody waits: the
	// next Acquire of this process has the lock at once, without a request, and with the same token.
	// As soon as somebody else waits the entry is given up; to hear of that the queue is watched
	// meanwhile. (A TryAcquire does not wait, and finds the lock taken.) Commit releases it as ever.
	// Default off.
	Linger time.Duration
}

// lock is what all kinds have in common.
type lock struct {
	name  string
	cli   *clientv3.Client
	bad   error // the name, or another of New's arguments
	queue *queue.Queue
	who   owner
	words *queue.Words
}

func newLock(cli *clientv3.Client, name string, opts *Options) lock {
	var o Options
	if opts != nil {
		o = *opts
	}
	return lock{
		name: name, cli: cli, bad: validName(name), queue: queue.New(cli, name, o.Keeper, o.TTL), who: self(),
		words: &queue.Words{Lost: ErrLost, Unknown: ErrUnknown, Over: fmt.Errorf("%w: %q", ErrReleased, name), What: strconv.Quote(name)},
	}
}

func validName(name string) error {
	if err := queue.ValidName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrName, err)
	}
	return nil
}

// begin checks a call before anything is sent, and has Close end it.
func (l *lock) begin(ctx context.Context, reads []clientv3.Op) (_ context.Context, done func(), err error) {
	if l.bad != nil {
		return nil, nil, l.bad
	}
	for _, op := range reads {
		if !op.IsGet() {
			return nil, nil, fmt.Errorf("%w: only Gets can ride on an Acquire", ErrOp)
		}
	}
	ctx, done, err = l.queue.Begin(ctx)
	if err != nil {
		return nil, nil, ErrClosed
	}
	return ctx, done, nil
}

// explain makes an error of the queue one of the lock.
func (l *lock) explain(what string, err error) error {
	switch {
	case errors.Is(err, queue.ErrLost):
		return fmt.Errorf("%w: %s %q: %w", ErrLost, what, l.name, err)
	case errors.Is(err, queue.ErrSize):
		return fmt.Errorf("%w: %s %q: %w", ErrSize, what, l.name, err)
	case l.queue.Closed() != nil && !errors.Is(err, ErrClosed):
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return fmt.Errorf("lock: %s %q at %q: %w", what, l.name, l.cli.Endpoints(), err)
}

// acquire waits for a hold of a kind, without a line in this process.
func (l *lock) acquire(ctx context.Context, kind queue.Kind, reads []clientv3.Op) (*Hold, error) {
	ctx, done, err := l.begin(ctx, reads)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := l.queue.Reach(ctx, nil, func(on *lease.Lease) *queue.Entry { return l.prepare(on, kind, reads) })
	if err != nil {
		return nil, l.explain("acquire", err)
	}
	return newHold(l, e, nil), nil
}

// try takes a hold of a kind if it need not wait.
func (l *lock) try(ctx context.Context, kind queue.Kind) (*Hold, error) {
	ctx, done, err := l.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := l.enter(ctx, kind)
	if err != nil {
		return nil, err
	}
	return newHold(l, e, nil), nil
}

// enter brings an entry into the queue if it need not wait there.
func (l *lock) enter(ctx context.Context, kind queue.Kind) (*queue.Entry, error) {
	for again := false; ; again = true {
		on, err := l.queue.Lease(ctx)
		if err != nil {
			return nil, l.explain("try", err)
		}
		e := l.prepare(on, kind, nil)
		owner, err := l.queue.TryEnter(ctx, e)
		switch {
		case errors.Is(err, queue.ErrLost) && !again:
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && !again:
			_ = on.Confirm(ctx) // it was revoked, and the next one is another
		case err != nil:
			return nil, l.explain("try", err)
		case owner != nil:
			return nil, fmt.Errorf("%w: %q, by %s", ErrTaken, l.name, describe(owner))
		default:
			return e, nil
		}
	}
}

// ended makes an error of the end of a hold one of the lock. It knows its name if the hold was lost.
func (l *lock) ended(what string, err error) error {
	if err == nil || errors.Is(err, ErrLost) && !errors.Is(err, ErrUnknown) {
		return err
	}
	return l.explain(what, err)
}

// prepare makes an entry on a lease.
func (l *lock) prepare(on *lease.Lease, kind queue.Kind, wanted []clientv3.Op) *queue.Entry {
	return l.queue.Prepare(on, kind, l.who.record(), wanted)
}

// Close ends the lock. Who waits is ErrClosed, and leaves the queue. The caller's holds are to be
// released before: one that is not ends with its lease, which is revoked unless the Keeper is a
// shared one. Close is idempotent.
func (l *lock) Close() error { return l.queue.Close() }

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
	o.Since, o.Nonce = stamp(time.Now()), rand.Text()
	return o.text()
}

// acquired is a record that also tells since when the lock is held.
func acquired(record string, since time.Time) string {
	var o owner
	if err := json.Unmarshal([]byte(record), &o); err != nil {
		panic(err) // of this process
	}
	o.Acquired = stamp(since)
	return o.text()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

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

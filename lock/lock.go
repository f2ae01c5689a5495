package lock

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrLost: the lock is not held any longer, or cannot be relied on: its lease ended, or another
	// client deleted its key. A Commit with this error wrote nothing.
	ErrLost = errors.New("lock: ownership lost")
	// ErrTaken: TryAcquire found the lock held or waited for. The error names the holder.
	ErrTaken = errors.New("lock: taken")
	// ErrReleased: the hold was released, by Release or Commit.
	ErrReleased = errors.New("lock: released")
	// ErrUnknown: a Commit was not answered, and etcd's history does not show whether it was applied.
	// Or a Detach was not answered: see Hold.Detach. The hold has ended.
	ErrUnknown = errors.New("lock: outcome unknown")
	// ErrInvalid: the caller's mistake: the name, an option, the size of a Semaphore, an operation that
	// is not a Get, or a text that is no resume token of this lock. Nothing was sent.
	ErrInvalid = errors.New("lock: invalid argument")
	// ErrNested: Acquire was called within Do or DoRead of the same lock, with its context: the call
	// would wait for itself.
	ErrNested = errors.New("lock: held by the caller already")
	// ErrClosed: the lock was closed.
	ErrClosed = errors.New("lock: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long the lock stays with a process that died or was paused. Default 10 s; etcd's
	// minimum is 2 s. A Keeper has its own TTL: with both the error is ErrInvalid.
	TTL time.Duration
	// Keeper is shared with other handles, and stays open. Default: one of the lock's own.
	Keeper *lease.Keeper
	// Local lets goroutines of this process pass a Mutex on without a request to etcd. Default off.
	Local Local
	// Linger is how long a Mutex keeps its entry in etcd after a Release, if no call waits. The next
	// Acquire of this process then has the lock at once, without a request, and with the same token.
	// Meanwhile the queue is watched, and the entry is removed as soon as another process waits. (A
	// TryAcquire of another process does not wait, and finds the lock taken.) Commit always releases
	// in etcd. Default off.
	Linger time.Duration
	// Logger gets one line when a call has waited for 1.5 s, with the holder's name, one when the
	// holder has changed or the call has the lock, and one for each hold that is lost. nil is silent.
	Logger *slog.Logger
	// Data is a text for the entry, which Entries and List show to others: a job's id, say. It has at
	// most 1,024 bytes of UTF-8; otherwise each call returns ErrInvalid.
	Data string
}

// SharedOptions of NewRW and NewSemaphore are those of Options that apply to locks with several
// holders. nil and the zero value are the defaults.
type SharedOptions struct {
	TTL    time.Duration // see Options.TTL
	Keeper *lease.Keeper // see Options.Keeper
	Logger *slog.Logger  // see Options.Logger
	Data   string        // see Options.Data
}

// lock is what all kinds have in common.
type lock struct {
	handle *queue.Handle
	owner  owner // this process
}

// lockType is what the queue's errors and log say for this package.
var lockType = &queue.HandleType{
	Name: "lock", Origin: queue.Lock, Handles: "locks", Entries: "entries",
	Invalid: ErrInvalid, Closed: ErrClosed, Lost: ErrLost, Unknown: ErrUnknown, Released: ErrReleased, Gone: ErrGone,
	Waiting: "waiting for lock", Gained: "lock acquired after a wait", LostLog: "lock lost", HeldKey: "held",
	HolderAttrs: holderAttrs,
}

func newLock(cli *clientv3.Client, name string, opts *SharedOptions) lock {
	var o SharedOptions
	if opts != nil {
		o = *opts
	}
	l := lock{lockType.NewHandle(cli, name, queue.Options{TTL: o.TTL, Keeper: o.Keeper, Logger: o.Logger}), thisProcess(o.Data)}
	if len(o.Data) > mostData || !utf8.ValidString(o.Data) {
		l.handle.SetInvalid("the option Data is %s: want at most %d bytes of UTF-8", quote.Text(o.Data), mostData)
	}
	return l
}

// begin checks a call before anything is sent, and has Close end it.
func (l *lock) begin(ctx context.Context, verb string, reads []clientv3.Op) (_ context.Context, done func(), err error) {
	for _, op := range reads {
		if !op.IsGet() {
			return nil, nil, fmt.Errorf("%w: %s %q: only Gets can be read with the lock", ErrInvalid, verb, l.handle.Name)
		}
	}
	return l.handle.Begin(ctx, verb)
}

// acquireVerb is what an error says before the name of the lock.
func acquireVerb(kind queue.Kind) string {
	if kind.Shared {
		return "acquire a read hold of"
	}
	return "acquire"
}

func tryVerb(kind queue.Kind) string { return "try to " + acquireVerb(kind) }

// acquire waits for a hold of a kind. Each call of this process waits in etcd by itself.
func (l *lock) acquire(ctx context.Context, kind queue.Kind, reads []clientv3.Op) (*Hold, error) {
	verb := acquireVerb(kind)
	ctx, done, err := l.begin(ctx, verb, reads)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := l.handle.Wait(verb, func() (*queue.Entry, error) { return l.reach(ctx, nil, kind, reads) })
	if err != nil {
		return nil, err
	}
	return newHold(l, e, nil), nil
}

// reach waits in etcd until it is an entry's turn. If e is nil it makes an entry.
func (l *lock) reach(ctx context.Context, e *queue.Entry, kind queue.Kind, reads []clientv3.Op) (*queue.Entry, error) {
	return l.handle.Queue.Reach(ctx, e, func(on *lease.Lease) *queue.Entry { return l.prepare(on, kind, reads) })
}

// try takes a hold of a kind if it need not wait.
func (l *lock) try(ctx context.Context, kind queue.Kind) (*Hold, error) {
	ctx, done, err := l.begin(ctx, tryVerb(kind), nil)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := l.tryEnter(ctx, kind)
	if err != nil {
		return nil, err
	}
	return newHold(l, e, nil), nil
}

// tryEnter brings an entry into the queue if it need not wait there.
func (l *lock) tryEnter(ctx context.Context, kind queue.Kind) (*queue.Entry, error) {
	for again := false; ; again = true {
		on, err := l.handle.Queue.TryLease(ctx)
		if err != nil {
			return nil, l.handle.Explain(tryVerb(kind), err)
		}
		e := l.prepare(on, kind, nil)
		holder, err := l.handle.Queue.TryEnter(ctx, e)
		switch {
		case !again && (errors.Is(err, queue.ErrLost) || errors.Is(err, rpctypes.ErrLeaseNotFound)): // the next lease is another
		case err != nil:
			return nil, l.handle.Explain(tryVerb(kind), err)
		case holder != nil:
			l.handle.Counters.Refused()
			return nil, l.handle.Errorf(tryVerb(kind), "%w by %s", ErrTaken, describe(l.handle.Name, holder))
		default:
			return e, nil
		}
	}
}

// prepare makes an entry on a lease.
func (l *lock) prepare(on *lease.Lease, kind queue.Kind, wanted []clientv3.Op) *queue.Entry {
	return l.handle.Queue.Prepare(on, kind, l.owner.newValue(), wanted)
}

// Close is as [Mutex.Close].
func (l *lock) Close() error { return l.handle.Queue.Close() }

// Shutdown is as [Mutex.Shutdown].
func (l *lock) Shutdown(ctx context.Context) error { return l.handle.Queue.Shutdown(ctx) }

// owner is what the value of an entry says of its process, for people.
type owner struct {
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Since    string `json:"since"`              // when it came into the queue
	Acquired string `json:"acquired,omitempty"` // of a hold that has lasted for a second
	Data     string `json:"data,omitempty"`     // Options.Data
	Nonce    string `json:"nonce"`
}

func thisProcess(data string) owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return owner{Host: host, PID: os.Getpid(), Command: filepath.Base(os.Args[0]), Data: data}
}

// newValue is the value of a new entry.
func (o owner) newValue() string {
	o.Since, o.Nonce = stamp(time.Now()), rand.Text()
	return o.text()
}

// heldValue is an entry's value that also tells since when the lock is held.
func heldValue(value string, since time.Time) string {
	var o owner
	if err := json.Unmarshal([]byte(value), &o); err != nil {
		panic(err) // this process wrote it
	}
	o.Acquired = stamp(since)
	return o.text()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (o owner) text() string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // it has only strings and a number
	}
	return string(b)
}

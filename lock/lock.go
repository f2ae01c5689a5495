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
	"strconv"
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
	// ErrLost: the lock is not held any longer, or must be taken for lost: its lease ended, or
	// another client deleted its key. What a Commit was to write was not written.
	ErrLost = errors.New("lock: ownership lost")
	// ErrTaken: TryAcquire found the lock held or waited for. The error names the holder.
	ErrTaken = errors.New("lock: taken")
	// ErrReleased: the hold was released, by Release or Commit.
	ErrReleased = errors.New("lock: released")
	// ErrUnknown: a Commit was not answered, and whether it was carried out could not be found
	// out. The hold is over.
	ErrUnknown = errors.New("lock: outcome unknown")
	// ErrInvalid: the caller's mistake: the name, an option, the size of a Semaphore, an operation that
	// is not a Get, or a text that is no resume token of this lock. Nothing was sent.
	ErrInvalid = errors.New("lock: invalid argument")
	// ErrNested: the lock was asked for within Do or DoRead of the same lock, with its context: it
	// would wait for itself.
	ErrNested = errors.New("lock: held by the caller already")
	// ErrClosed: the lock was closed.
	ErrClosed = errors.New("lock: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long the lock outlives a process that died or stands still. Default 10 s; etcd's
	// minimum is 2 s. A Keeper has a TTL of its own: both are ErrInvalid.
	TTL time.Duration
	// Keeper is a shared one; it stays open. Default one of the lock's own.
	Keeper *lease.Keeper
	// Local has goroutines of this process hand a Mutex on without a word to etcd. Default off.
	Local Local
	// Linger is for how long a Mutex keeps its entry in etcd after a Release, if nobody waits: the
	// next Acquire of this process has the lock at once, without a request, and with the same token.
	// As soon as another process waits the entry is given up; to hear of that the queue is watched
	// meanwhile. (A TryAcquire does not wait, and finds the lock taken.) Commit releases it as ever.
	// Default off.
	Linger time.Duration
	// Logger gets one line when a call has waited for 1.5 s, with the holder's name, and one when that
	// has changed or the call has the lock; and one for each hold that is lost. nil is silent.
	Logger *slog.Logger
	// Data is a text of the caller's in the entry, which Entries and List show to others: a job's id,
	// say. At most 1,024 bytes of UTF-8, else every call is ErrInvalid.
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
	name  string
	cli   *clientv3.Client
	bad   error // the name, or another of New's arguments
	queue *queue.Queue
	who   owner
	words *queue.Errors

	figures *queue.Counters
	waits   *queue.WaitLog
}

func newLock(cli *clientv3.Client, name string, opts *SharedOptions) lock {
	var o SharedOptions
	if opts != nil {
		o = *opts
	}
	bad := validName(name)
	switch {
	case bad != nil:
	case len(o.Data) > mostData || !utf8.ValidString(o.Data):
		bad = fmt.Errorf("%w: Options.Data of %q is %s: want at most %d bytes of UTF-8", ErrInvalid, name, quote.Text(o.Data), mostData)
	case o.Keeper != nil && o.TTL != 0:
		bad = fmt.Errorf("%w: Options.TTL and Options.Keeper of %q are both set: the Keeper has a TTL of its own", ErrInvalid, name)
	}
	figures := new(queue.Counters)
	return lock{
		name: name, cli: cli, bad: bad, queue: queue.New(cli, name, o.Keeper, o.TTL), who: self(o.Data),
		words: &queue.Errors{
			Lost: ErrLost, Unknown: ErrUnknown, Released: fmt.Errorf("%w: %q", ErrReleased, name), Name: strconv.Quote(name),
			Ended: ended(figures, name, o.Logger),
		},
		figures: figures, waits: queue.NewWaitLog(cli, name, o.Logger, "waiting for lock", "lock acquired after a wait", holderAttrs),
	}
}

func validName(name string) error {
	if err := queue.ValidName(name); err != nil {
		return fmt.Errorf("%w: the name: %w", ErrInvalid, err)
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
			return nil, nil, fmt.Errorf("%w: acquire %q: only Gets can be read with the lock", ErrInvalid, l.name)
		}
	}
	ctx, done, err = l.queue.Begin(ctx)
	switch {
	case errors.Is(err, queue.ErrClient):
		return nil, nil, fmt.Errorf("%w: %q: %w", ErrClosed, l.name, err)
	case err != nil:
		return nil, nil, ErrClosed
	}
	return ctx, done, nil
}

// explain makes an error of the queue one of the lock.
func (l *lock) explain(what string, err error) error {
	switch {
	case errors.Is(l.queue.Closed(), queue.ErrClient):
		return fmt.Errorf("%w: %s %q: %w", ErrClosed, what, l.name, queue.ErrClient)
	case errors.Is(err, queue.ErrLost):
		return fmt.Errorf("%w: %s %q: %w", ErrLost, what, l.name, err)
	case l.queue.Closed() != nil && !errors.Is(err, ErrClosed):
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return fmt.Errorf("lock: %s %q: %w", what, l.name, queue.Where(l.cli, err))
}

// acquire waits for a hold of a kind, without a line in this process.
func (l *lock) acquire(ctx context.Context, kind queue.Kind, reads []clientv3.Op) (*Hold, error) {
	ctx, done, err := l.begin(ctx, reads)
	if err != nil {
		return nil, err
	}
	defer done()
	waits := l.wait()
	e, err := l.queue.Reach(ctx, nil, func(on *lease.Lease) *queue.Entry { return l.prepare(on, kind, reads) })
	waits.over(err)
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
			l.figures.Refused()
			return nil, fmt.Errorf("%w: %q, by %s", ErrTaken, l.name, describe(l.name, owner))
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

// Close ends the lock. Calls that wait are ErrClosed, and leave the queue. Release holds before: one
// that is not released is lost, and its entry is removed. While etcd cannot be reached Close takes 2 s
// at most, together with the Close of all other handles of the client, and what is left in etcd ends
// with its lease. It is idempotent.
func (l *lock) Close() error { return l.queue.Close() }

// Shutdown is Close with a bound of the caller's: until ctx ends, and no longer than etcd's answers
// take. What it does not leave time for ends with its lease. Of Close and Shutdown the first one counts.
func (l *lock) Shutdown(ctx context.Context) error { return l.queue.Shutdown(ctx) }

// owner is what people can read of a holder or waiter.
type owner struct {
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Since    string `json:"since"`              // in the queue
	Acquired string `json:"acquired,omitempty"` // of a hold that has lasted for long
	Data     string `json:"data,omitempty"`     // Options.Data
	Nonce    string `json:"nonce"`
}

func self(data string) owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return owner{Host: host, PID: os.Getpid(), Command: filepath.Base(os.Args[0]), Data: data}
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

package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// HandleType is what differs between the packages above the queue, lock and election: which entries are
// theirs, and what they say in errors and in the log.
type HandleType struct {
	Name                     string // each error begins with it
	Origin                   Origin // of its entries
	Handles, Entries         string // what errors call several handles, and the entries of one
	Invalid, Closed          error
	Lost, Unknown, Released  error  // of a hold; Unknown is nil where none writes as it ends
	Gone                     error  // of an entry that is not there any more
	Waiting, Gained, LostLog string // messages of the log; an empty Gained is not logged
	HeldKey                  string // in the log: how long a hold that was lost had lasted
	HolderAttrs              func(name string, f Found) []any
}

// Options of a Handle.
type Options struct {
	TTL    time.Duration // of the handle's own leases; not with a Keeper
	Keeper *lease.Keeper // shared; nil: one of the handle's own
	Logger *slog.Logger  // nil: silent
}

// Handle is what the handles of locks and of elections have in common.
type Handle struct {
	Name     string
	Invalid  error // the caller's mistake, which each call returns; nil: none
	Client   *clientv3.Client
	Queue    *Queue
	Counters Counters
	Log      *slog.Logger // nil: silent

	of    *HandleType
	waits *WaitLog
	errs  *Errors
}

// NewHandle returns the handle of a name. It sends nothing.
func (p *HandleType) NewHandle(cli *clientv3.Client, name string, o Options) *Handle {
	h := &Handle{
		Name: name, Invalid: p.checkName(name), Client: cli, Queue: New(cli, name, o.Keeper, o.TTL), Log: o.Logger,
		of: p, waits: NewWaitLog(cli, name, o.Logger, p.Waiting, p.Gained, p.HolderAttrs),
	}
	h.errs = &Errors{
		Lost: p.Lost, Unknown: p.Unknown, Released: fmt.Errorf("%w: %q", p.Released, name), Name: strconv.Quote(name),
		Ended: h.endHold,
	}
	if o.Keeper != nil && o.TTL != 0 {
		h.SetInvalid("the options TTL and Keeper are both set: a Keeper has a TTL of its own")
	}
	return h
}

func (p *HandleType) checkName(name string) error {
	if err := CheckName(name); err != nil {
		return errtext.Errorf("%w: the name: %w", p.Invalid, err)
	}
	return nil
}

// SetInvalid records a mistake in the arguments of the handle, unless there is one already.
func (h *Handle) SetInvalid(format string, args ...any) {
	if h.Invalid == nil {
		h.Invalid = fmt.Errorf("%w: %q: %s", h.of.Invalid, h.Name, fmt.Sprintf(format, args...))
	}
}

// Begin checks a call before anything is sent, and has Close and the end of the client end it. done
// must be called when it returns.
func (h *Handle) Begin(ctx context.Context, verb string) (_ context.Context, done func(), err error) {
	if h.Invalid != nil {
		return nil, nil, h.Invalid
	}
	ctx, done, err = h.Queue.Begin(ctx)
	if err != nil {
		return nil, nil, h.closed(verb, err)
	}
	return ctx, done, nil
}

// Closed is nil until the handle or its client is closed.
func (h *Handle) Closed(verb string) error {
	if err := h.Queue.Closed(); err != nil {
		return h.closed(verb, err)
	}
	return nil
}

func (h *Handle) closed(verb string, err error) error {
	if errors.Is(err, ErrClient) {
		return h.Errorf(verb, "%w: %w", h.of.Closed, ErrClient)
	}
	return h.Errorf(verb, "%w", h.of.Closed)
}

// Errorf makes the error of a call of the handle: lock: acquire "jobs": …
func (h *Handle) Errorf(verb, format string, args ...any) error {
	return errtext.Errorf("%s: %s %q: "+format, append([]any{h.of.Name, verb, h.Name}, args...)...)
}

// Explain makes an error of the queue one of the package.
func (h *Handle) Explain(verb string, err error) error {
	switch closed := h.Queue.Closed(); {
	case errors.Is(closed, ErrClient) && errors.Is(err, ErrUnknown): // any other error would say that nothing was applied
		return h.Errorf(verb, "%w: %w: %w", h.of.Closed, ErrClient, err)
	case errors.Is(closed, ErrClient):
		return h.closed(verb, closed)
	case errors.Is(err, ErrLost):
		return h.Errorf(verb, "%w: %w", h.of.Lost, err)
	case closed != nil && !errors.Is(err, h.of.Closed):
		return h.Errorf(verb, "%w: %w", h.of.Closed, Where(h.Client, err))
	}
	return h.Errorf(verb, "%w", Where(h.Client, err))
}

// Ended makes the error with which a hold ended one of the package. That of a lost one is so already.
func (h *Handle) Ended(verb string, err error) error {
	if err == nil || errors.Is(err, h.of.Lost) && !errors.Is(err, h.of.Unknown) {
		return err
	}
	return h.Explain(verb, err)
}

// Wait calls reach, which waits for a turn. It is counted, and logged if it takes long.
func (h *Handle) Wait(verb string, reach func() (*Entry, error)) (*Entry, error) {
	began, wait := h.Counters.StartWait(), h.waits.Start()
	e, err := reach()
	h.Counters.EndWait(began, err)
	wait.End(err)
	if err != nil {
		return nil, h.Explain(verb, err)
	}
	return e, nil
}

// Hold makes the hold of an entry whose turn it is; see Queue.Hold.
func (h *Handle) Hold(e *Entry, value func() string) *Hold {
	h.Counters.StartHold()
	return h.Queue.Hold(e, h.errs, value)
}

// endHold counts the end of a hold, and logs its loss.
func (h *Handle) endHold(hold *Hold, err error) {
	lasted := time.Since(hold.Began())
	if !errors.Is(err, h.of.Lost) {
		h.Counters.EndHold(lasted, nil)
		return
	}
	h.Counters.EndHold(lasted, err)
	if h.Log != nil {
		h.Log.Error(h.of.LostLog, "name", h.Name, "key", hold.Key(), "token", hold.Token(), h.of.HeldKey, lasted.Round(time.Millisecond), "cause", err.Error())
	}
}

// Read reads the queue of a name; see Read.
func (p *HandleType) Read(ctx context.Context, cli *clientv3.Client, name string, limit int) (*List, error) {
	if err := p.checkName(name); err != nil {
		return nil, err
	}
	l, err := Read(ctx, cli, name, limitOrDefault(limit))
	if err != nil {
		return nil, errtext.Errorf("%s: list the %s of %q: %w", p.Name, p.Entries, name, Where(cli, err))
	}
	return l, nil
}

// WalkOf yields the queues below a prefix that are the package's, as convert shows them; see Walk.
func WalkOf[T any](ctx context.Context, p *HandleType, cli *clientv3.Client, prefix string, limit int, convert func(*List) *T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for l, err := range Walk(ctx, cli, prefix, limitOrDefault(limit)) {
			if err != nil {
				yield(nil, errtext.Errorf("%s: list the %s below %s: %w", p.Name, p.Handles, quote.Text(prefix), Where(cli, err)))
				return
			}
			if p.owns(l) && !yield(convert(l), nil) {
				return
			}
		}
	}
}

// SortedOf is WalkOf for keys that were read already; see Sorted.
func SortedOf[T any](p *HandleType, kvs []*KeyValue, limit int, convert func(*List) *T) []*T {
	var all []*T
	for _, l := range Sorted(kvs, limitOrDefault(limit)) {
		if p.owns(l) {
			all = append(all, convert(l))
		}
	}
	return all
}

// owns tells whether a queue is one of the package's.
func (p *HandleType) owns(l *List) bool {
	lock, election := l.Origins()
	return lock && p.Origin == Lock || election && p.Origin == Candidate
}

// limitOrDefault is how many entries of one queue are kept where the caller says limit.
func limitOrDefault(limit int) int {
	if limit <= 0 {
		return 1000
	}
	return limit
}

// LeaseText is a lease as etcdctl prints it, "" for none.
func LeaseText(id clientv3.LeaseID) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(int64(id), 16)
}

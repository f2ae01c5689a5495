package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrExists: another live process has the key. The error names its host and pid.
	ErrExists = errors.New("registry: registered by another process")
	// ErrUnauthorised: etcd does not let this user write there, or read what stands there.
	ErrUnauthorised = lease.ErrUnauthorised
	// ErrClosed: the registrar was closed, or its Keeper, or the etcd client below it; the error
	// says which.
	ErrClosed = errors.New("registry: closed")
)

// defaultTTL and minTTL are package lease's.
const (
	defaultTTL = 10 * time.Second
	minTTL     = 2 * time.Second
)

// DefaultPrefix is where services are, unless Options say otherwise.
const DefaultPrefix = "/services/"

// Options of New and Register. nil and the zero value are the defaults.
type Options struct {
	// Prefix is where services are: an instance's key is Prefix + Service + "/" + ID. Default
	// "/services/".
	Prefix string
	// TTL is how long an instance outlives a process that was killed. Default 10 s; etcd's
	// minimum is 2 s. Without effect beside a Keeper.
	TTL time.Duration
	// Keeper is a shared one; it stays open. Default one of the registrar's own.
	Keeper *lease.Keeper
	// Checks are run for each instance, once before it is first written and then until Close. The
	// worse of what they find and of the instance's own Status is what consumers see; an instance
	// that is draining or in maintenance stays so.
	Checks []health.Check
	// AwaitServing has Register write nothing before no check is critical: an instance appears when
	// it can serve. Register's ctx bounds that, and its error then tells which check stood in the
	// way, and what it said. Without it an instance that cannot serve yet appears as critical.
	AwaitServing bool
	// LeaveNotice is how long Leave waits for consumers to hear that an instance is draining, before it
	// finishes what the instance has. Default 1 s; negative: no time.
	LeaveNotice time.Duration
	// Logger gets one line for each change of a registration's state. nil is silent.
	Logger *slog.Logger

	lookEvery time.Duration // of tests; 0: lookEvery
}

// Registrar keeps instances registered: through a lost lease, a deleted key, an outage of etcd.
// Its methods may be called from any goroutine.
type Registrar struct {
	cli    *clientv3.Client
	etcd   *ask.Client // what all handles on cli share
	prefix string
	keeper *lease.Keeper
	own    bool          // keeper is ours to close
	ttl    time.Duration // that it asks for, if it is ours
	checks []health.Check
	await  bool // AwaitServing
	notice time.Duration
	log    *slog.Logger

	lookEvery time.Duration

	wake      chan struct{} // there is something to do
	stop      context.CancelFunc
	closing   chan struct{} // closed when nothing may be added any more
	ended     chan struct{}
	attending sync.WaitGroup // goroutines that run or hear checks; added to under mu, until closing
	shut      *firstCall     // of Shutdown
	departed  *firstCall     // of Leave

	mu       sync.Mutex
	entries  map[string]*entry // by key
	services map[string]int    // how many of them are of a service
	dirty    map[*entry]bool   // those that are, perhaps, not as they should be
	watcher  *watcher
	closed   bool
	left     bool   // Close has returned: nobody waits for keys any longer
	waiting  bool   // a goroutine waits for the end of an outage
	notes    []note // for the log, which is written without mu
	losses   map[Loss]uint64
}

// New returns a Registrar. It sends nothing; the error is ErrInvalid.
func New(cli *clientv3.Client, opts *Options) (*Registrar, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if err := validPrefix(o.Prefix); err != nil {
		return nil, err
	}
	if err := health.Validate(o.Checks...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registrar{
		cli: cli, etcd: ask.Of(cli), prefix: o.Prefix, keeper: o.Keeper, checks: slices.Clone(o.Checks), await: o.AwaitServing, notice: cmp.Or(o.LeaveNotice, defaultNotice), log: o.Logger,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}), shut: newFirstCall(), departed: newFirstCall(),
		entries: make(map[string]*entry), services: make(map[string]int), dirty: make(map[*entry]bool),
		losses: make(map[Loss]uint64), lookEvery: cmp.Or(o.lookEvery, lookEvery),
	}
	r.watcher = newWatcher(r)
	if r.keeper == nil {
		r.keeper, r.own = lease.NewKeeper(cli, &lease.Options{TTL: o.TTL}), true
		r.ttl = max(cmp.Or(max(o.TTL, 0), defaultTTL), minTTL)
	}
	ctx, stop := r.etcd.While(context.Background())
	r.stop = stop
	go r.run(ctx) // ends with Close, or with the client
	return r, nil
}

// Register registers one instance with a registrar of its own, which the Registration's Close
// closes.
func Register(ctx context.Context, cli *clientv3.Client, instance Instance, opts *Options) (*Registration, error) {
	r, err := New(cli, opts)
	if err != nil {
		return nil, err
	}
	all, err := r.Register(ctx, instance)
	if err != nil {
		if ctx.Err() == nil {
			_ = r.Close() // what it could not withdraw ends with its lease
		} else {
			go r.Close() // bounded, and the caller does not wait for it
		}
		return nil, err
	}
	all[0].alone = true
	return all[0], nil
}

// isClosing tells whether nothing may be added any more. r.mu is held.
func (r *Registrar) isClosing() bool {
	select {
	case <-r.closing:
		return true
	default:
		return false
	}
}

// touch has the worker look at an entry now. r.mu is held.
func (r *Registrar) touch(e *entry) {
	r.dirty[e] = true
	e.next = time.Time{}
	r.urge()
}

// urge wakes the worker.
func (r *Registrar) urge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// settled waits until the entry is in etcd as it should be, or gone.
func (r *Registrar) settled(ctx context.Context, e *entry, gone bool) error {
	for {
		r.mu.Lock()
		done, err, changed := e.settled(), e.verdict, e.changed
		if e.leaving && !gone {
			err = ErrClosed // by another call meanwhile
		}
		r.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-r.ended:
			r.mu.Lock()
			defer r.mu.Unlock()
			if e.settled() {
				return nil
			}
			return r.closedError()
		case <-ctx.Done():
			return r.timeout(ctx, e)
		}
	}
}

// timeout is the error of a caller who does not wait any longer.
func (r *Registrar) timeout(ctx context.Context, e *entry) error {
	end := context.Cause(ctx)
	r.mu.Lock()
	cause := e.trouble
	r.mu.Unlock()
	if cause == nil {
		cause = r.keeper.Stats().GrantErr
	}
	cause = ask.Latest(r.etcd, cause)
	var explained *ask.Unanswered
	if errors.As(end, &explained) {
		return end
	}
	if cause == nil {
		return fmt.Errorf("no answer from %s: %w", quote.Joined(r.cli.Endpoints(), 10), end)
	}
	return fmt.Errorf("%w; at %s: %w", end, quote.Joined(r.cli.Endpoints(), 10), cause)
}

// closedError is ErrClosed, with what was closed if that is not the registrar.
func (r *Registrar) closedError() error {
	if err := r.etcd.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}

// withdraw asks for the entry's end.
func (r *Registrar) withdraw(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(e)
}

// leave is withdraw with r.mu held.
func (r *Registrar) leave(e *entry) {
	e.leaving, e.trouble, e.verdict, e.calm = true, nil, nil, time.Time{}
	e.tell()
	r.touch(e)
}

// Close withdraws all instances: they say draining first, then their keys are deleted. Checks end
// before that, within a moment; Close waits 1 s for one that ignores its context. Then Close takes as
// long as etcd answers, and 2 s at most while it does not, together with all that is closed on the
// same client. It is idempotent. Shutdown is Close with a bound of the caller's.
//
// The error tells which keys are still in etcd and until when: a key that could not be deleted ends
// with its lease. On a shared Keeper, whose leases live on, the registrar goes on trying in the
// background until they are gone or the leases are.
func (r *Registrar) Close() error {
	ctx, done := r.etcd.Farewell(context.Background())
	defer done()
	return r.Shutdown(ctx)
}

// Shutdown is Close that waits for etcd until ctx ends, and no longer. Of several calls of the two the
// first one's bound counts; the others return what it returns, or with their ctx.
func (r *Registrar) Shutdown(ctx context.Context) error {
	return r.shut.do(ctx, "close", func() error { return r.shutdown(ctx) })
}

func (r *Registrar) shutdown(ctx context.Context) error {
	r.mu.Lock()
	close(r.closing)
	checked := slices.Collect(maps.Values(r.entries))
	r.mu.Unlock()
	r.dismiss(checked...)
	r.attending.Wait()

	r.mu.Lock()
	r.closed = true
	entries := make([]*entry, 0, len(r.entries))
	for _, e := range r.entries {
		r.leave(e)
		entries = append(entries, e)
	}
	r.mu.Unlock()
	r.urge() // without entries the worker has nothing else that tells it

	var left []*entry
	var cause error
	for _, e := range entries { // once ctx has ended the rest takes no time
		if err := r.settled(ctx, e, true); err != nil {
			left, cause = append(left, e), cmp.Or(cause, err)
		}
	}
	if r.own {
		r.stop()
		<-r.ended
		r.mu.Lock()
		left = slices.DeleteFunc(left, (*entry).unwritten)
		r.mu.Unlock()
		closed := r.keeper.Shutdown(ctx)
		if r.etcd.Err() == nil && closed == nil { // then its leases were revoked
			r.mu.Lock()
			left = slices.DeleteFunc(left, (*entry).revoked)
			r.mu.Unlock()
		}
		if len(left) == 0 {
			return closed
		}
		if closed != nil && ctx.Err() == nil { // otherwise it says the same
			cause = fmt.Errorf("%w; %w", cause, closed)
		}
		return r.remain(left, cause)
	}
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	if len(left) > 0 {
		r.urge()
		return r.remain(left, cause)
	}
	r.stop()
	<-r.ended
	return nil
}

// remain is the error of keys that were not withdrawn: which, why, and how long they can stay.
func (r *Registrar) remain(left []*entry, cause error) error {
	slices.SortFunc(left, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for _, e := range left {
		keys = append(keys, e.key)
	}
	return fmt.Errorf("registry: withdraw %s: %w; %s", quote.Joined(keys, 5), cause, r.until(left[0]))
}

// until tells how long a key that was not deleted can stay. r.mu is held.
func (r *Registrar) until(e *entry) string {
	ttl := "a TTL"
	if r.own {
		ttl = r.ttl.String()
	}
	l := cmp.Or(e.on, e.lease)
	if n := len(e.untold); n > 0 {
		l = e.untold[n-1]
	}
	switch {
	case l == nil:
		return "it may stay in etcd"
	case r.own || l.Err() != nil:
		return fmt.Sprintf("in etcd it stays until its lease %016x ends, %s after etcd is back at the latest", int64(l.ID()), ttl)
	}
	return fmt.Sprintf("in etcd it stays until that is tried again with success, or its Keeper's lease %016x ends", int64(l.ID()))
}

// retired tells whether the worker of a closed registrar has nothing left to do. With a shared
// Keeper, whose leases live on, it goes on until its keys are gone, or those leases.
func (r *Registrar) retired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed || r.own {
		return false
	}
	for _, e := range r.entries {
		if !r.left || e.lease == nil || e.lease.Err() == nil {
			return false
		}
	}
	return true
}

// pending are the entries that want something now, cut into transactions, and how long it is
// until another one does. Those that leave come first, and by themselves: what hinders writing
// need not hinder them.
func (r *Registrar) pending() (todo [][]*entry, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	ended := make(map[*lease.Lease][]*entry)
	var leaving, staying []*entry
	for e := range r.dirty {
		if e.written && !e.leaving && e.lease.Err() != nil {
			ended[e.lease] = append(ended[e.lease], e)
		} else if e.settled() {
			delete(r.dirty, e)
			continue
		}
		if rest := max(e.next.Sub(now), e.calm.Sub(now)); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		wait = 0
		if e.leaving {
			leaving = append(leaving, e)
		} else {
			staying = append(staying, e)
		}
	}
	for l, entries := range ended {
		r.lose(leaseEnded+": "+l.Err().Error(), entries...)
	}
	return append(chunks(leaving), chunks(staying)...), wait
}

// chunks cuts the work into transactions. r.mu is held.
func chunks(todo []*entry) [][]*entry {
	slices.SortFunc(todo, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	var all [][]*entry
	size := txnBytes
	for _, e := range todo {
		need := len(e.key) + len(e.wanted.value) + 200
		if n := len(all); n == 0 || len(all[n-1]) == txnOps || size+need > txnBytes {
			all, size = append(all, nil), 0
		}
		all[len(all)-1] = append(all[len(all)-1], e)
		size += need
	}
	return all
}

// lose records that keys are no longer ours. r.mu is held.
func (r *Registrar) lose(reason string, entries ...*entry) {
	entries = slices.DeleteFunc(entries, func(e *entry) bool { return !e.lost(reason) })
	if len(entries) > 0 {
		r.note(slog.LevelWarn, "registration lost", about("because", reason, entries)...)
	}
}

// note is a line for the log.
type note struct {
	level slog.Level
	text  string
	attrs []any
}

// note keeps a line until the worker writes it: a handler may ask for a State. r.mu is held.
func (r *Registrar) note(level slog.Level, text string, attrs ...any) {
	r.notes = append(r.notes, note{level, text, attrs})
	r.urge()
}

// flush writes the log.
func (r *Registrar) flush() {
	r.mu.Lock()
	notes := r.notes
	r.notes = nil
	r.mu.Unlock()
	for _, n := range notes {
		r.log.Log(context.Background(), n.level, n.text, n.attrs...)
	}
}

// about are the attributes of a log line on entries: a lease takes up to 1,000 with it.
func about(name string, value any, entries []*entry) []any {
	attrs := []any{"key", entries[0].key}
	if more := len(entries) - 1; more > 0 {
		attrs = append(attrs, "more", more)
	}
	return append(attrs, name, value)
}

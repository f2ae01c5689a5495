package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	defaultTTL  = 10 * time.Second
	minTTL      = 2 * time.Second // etcd's, with its default election timeout
	maxTTL      = 10 * 365 * 24 * time.Hour
	defaultKeys = 1000
	userKeys    = 128 // a transaction's operations; the default of a user whose rights are checked
)

// Options are the settings of a Keeper. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long a lease outlives its last renewal. Default 10 s; rounded up to whole
	// seconds; at least 2 s, and at most ten years. etcd grants more when its election timeout asks for it
	// (1.5 times that is its minimum); what it granted is in Stats, and counts.
	TTL time.Duration
	// Margin is by how much Done precedes the earliest time at which etcd may let the lease
	// expire. It makes up for clocks that run at different rates and for the time it takes to
	// notice. Default a tenth of the granted TTL, and 1 s at most; at most a third of it.
	Margin time.Duration
	// Keys is how many keys one lease carries, for Reserve. Default 1,000: the cost of a Put
	// grows with the keys of its lease, and all of them go in one step. For a client with a user name
	// other than root it is 128: etcd checks that user's rights to every key of the lease at each Put
	// that names it, but before the transaction, so that one of 128 Puts on a lease that has no key
	// yet costs nothing more.
	Keys int
	// Logger gets one line for each change of a lease's state. nil is silent.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	if set.TTL <= 0 {
		set.TTL = defaultTTL
	}
	set.TTL = min(max(set.TTL, minTTL), maxTTL)
	if part := set.TTL % time.Second; part != 0 {
		set.TTL += time.Second - part
	}
	if set.Keys <= 0 {
		set.Keys = defaultKeys
	}
	if set.Logger == nil {
		set.Logger = slog.New(slog.DiscardHandler)
	}
	return set
}

// margin is what is held back of a granted TTL.
func (o *Options) margin(ttl time.Duration) time.Duration {
	if o.Margin > 0 {
		return min(o.Margin, ttl/3)
	}
	return min(ttl/10, time.Second)
}

// seconds is a TTL of etcd's as a duration. What cannot be right counts as the longest that can.
func seconds(ttl int64) time.Duration {
	return time.Duration(min(max(ttl, 0), int64(maxTTL/time.Second))) * time.Second
}

// Keeper grants leases and keeps them alive, for many users. It grants when a lease is asked
// for and there is none; when one is lost, at the next use. Its methods may be called from
// any goroutine.
type Keeper struct {
	etcd  etcd
	opts  Options
	clock func() time.Duration // bootTime, but in tests
	log   *slog.Logger

	background *ask.Background // what tidies up after the users of the leases

	closeOnce   sync.Once
	closeErr    error           // to be read after closeOnce
	revoking    context.Context // of what revokes in the background
	endRevoking context.CancelFunc

	running sync.WaitGroup // every goroutine; added to under mu, until closed
	counts  counters
	warned  atomic.Bool           // that no lease is granted, since the last one that was
	first   atomic.Pointer[Lease] // leases[0], for Lease

	mu              sync.Mutex
	leases          []*Lease           // live, or about to be found dead; the oldest first
	lost            []clientv3.LeaseID // that etcd may still have, and that nothing needs; revoked with the next grant
	claimed         map[string]bool
	granting        *granting
	closed          bool
	endedWithClient int // leases that lived when the client was closed
}

// NewKeeper returns a Keeper, without sending anything. Close it before cli: when cli is closed first,
// the leases end at once, as ErrClosed, and etcd keeps them until they expire.
func NewKeeper(cli *clientv3.Client, opts *Options) *Keeper {
	set := opts.withDefaults()
	if (opts == nil || opts.Keys <= 0) && cli.Username != "" && cli.Username != "root" {
		set.Keys = userKeys
	}
	return newKeeper(&members{ask.Of(cli), cli}, bootTime, &set)
}

func newKeeper(e etcd, clock func() time.Duration, opts *Options) *Keeper {
	k := &Keeper{etcd: e, opts: opts.withDefaults(), clock: clock}
	k.log = k.opts.Logger
	k.background = ask.NewBackground()
	k.revoking, k.endRevoking = context.WithCancel(context.Background())
	return k
}

// Lease returns a live lease. If there is none it is granted, for all callers that wait together;
// failing grants are repeated with full-jitter pauses until ctx is done.
//
// Nothing is reserved: this is for a few keys. A user of many, or of an unknown number, calls
// Reserve.
//
// The errors are ErrUnauthorised, ErrClosed, and, when ctx was done first, its error; that is
// ErrUnreachable as well if a try had failed, with the endpoints and the last cause; but where
// a member answers that it cannot, as with rpctypes.ErrNoSpace, that cause alone.
func (k *Keeper) Lease(ctx context.Context) (*Lease, error) {
	if l := k.first.Load(); l != nil && l.Err() == nil {
		return l, nil
	}
	return k.wait(ctx, 0)
}

// tryBound is how long TryLease waits for a grant.
const tryBound = 2 * time.Second

var errNotNow = errors.New("not tried, as no member can be reached")

// TryLease is Lease for a caller that does not wait out an outage, whatever its ctx: it returns within
// 2 s, and at once while it is known that no member can be reached. The error is as Lease's.
func (k *Keeper) TryLease(ctx context.Context) (*Lease, error) {
	if l := k.first.Load(); l != nil && l.Err() == nil {
		return l, nil
	}
	if outage := k.etcd.Outage(); outage != nil && k.etcd.Err() == nil {
		return nil, k.notGranted(errNotNow, outage)
	}
	ctx, cancel := context.WithTimeout(ctx, tryBound)
	defer cancel()
	return k.wait(ctx, 0)
}

// Reserve is Lease, and reserves room for keys on it. When no lease has so much left, another
// is granted. The room is given back with the lease's Unreserve, also after it ended. A number
// of keys below 1 or above Options.Keys is ErrTooManyKeys.
func (k *Keeper) Reserve(ctx context.Context, keys int) (*Lease, error) {
	if keys < 1 || keys > k.opts.Keys {
		return nil, errtext.Errorf("%w: reserve %d of %d", ErrTooManyKeys, keys, k.opts.Keys)
	}
	return k.wait(ctx, keys)
}

// Claim takes a key for one of the Keeper's users, until release: in etcd the keys of two users of
// one lease look alike. ok is false when another user has it. Calling release again does nothing.
func (k *Keeper) Claim(key string) (release func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.claimed[key] {
		return nil, false
	}
	if k.claimed == nil {
		k.claimed = make(map[string]bool)
	}
	k.claimed[key] = true
	released := false
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !released {
			released = true
			delete(k.claimed, key)
		}
	}, true
}

// wait returns a live lease with room for keys, once there is one.
func (k *Keeper) wait(ctx context.Context, keys int) (*Lease, error) {
	for {
		k.mu.Lock()
		if k.closed {
			k.mu.Unlock()
			return nil, fmt.Errorf("%w: grant: the Keeper was closed", ErrClosed)
		}
		if k.etcd.Err() != nil {
			k.mu.Unlock()
			return nil, clientClosed()
		}
		if l := k.pick(keys); l != nil {
			k.mu.Unlock()
			return l, nil
		}
		if err := context.Cause(ctx); err != nil {
			k.mu.Unlock()
			return nil, k.notGranted(err, nil)
		}
		g := k.granting
		if g == nil {
			work, giveUp := context.WithCancel(context.Background())
			g = &granting{k: k, giveUp: giveUp, done: make(chan struct{})}
			k.granting = g
			k.running.Go(func() { g.run(work) })
		}
		g.waiters++
		k.mu.Unlock()

		select {
		case <-g.done:
		case <-ctx.Done():
		}
		k.mu.Lock()
		g.waiters--
		if g.waiters == 0 {
			g.giveUp()
		}
		k.mu.Unlock()
		select {
		case <-g.done:
			if g.err != nil {
				return nil, g.err
			}
		default:
			return nil, k.notGranted(context.Cause(ctx), g.lastCause())
		}
	}
}

// pick returns the oldest live lease with room, in which it reserves the keys, or nil. So the later
// leases become empty.
// k.mu is held.
func (k *Keeper) pick(keys int) *Lease {
	for _, l := range k.leases {
		if l.reserved+keys <= k.opts.Keys && l.Remaining() > 0 {
			l.reserved += keys
			l.everReserved = l.everReserved || keys > 0
			return l
		}
	}
	return nil
}

// add makes a granted lease the Keeper's, and starts its life. False: the Keeper closes.
func (k *Keeper) add(l *Lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.leases = append(k.leases, l)
	k.first.Store(k.leases[0])
	ask.KeepBackground(k.etcd.life(), k, k.background)
	life, end := context.WithCancel(context.Background())
	k.running.Go(func() { // both end with the lease, which ends with the client at the latest
		defer end()
		l.guard()
	})
	k.running.Go(func() { l.renew(life) })
	return true
}

// remove forgets a lease that ended, but for its revoking: a new leader of etcd starts every
// TTL again, so a lease that is not renewed can outlive its deadline by far.
func (k *Keeper) remove(l *Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if errors.Is(l.err, ask.ErrClosed) {
		k.endedWithClient++
	}
	if (errors.Is(l.err, ErrUnreachable) || errors.Is(l.err, ErrExpired)) && !l.everReserved {
		k.lost = append(k.lost, l.id)
	}
	k.leases = slices.DeleteFunc(k.leases, func(other *Lease) bool { return other == l })
	k.first.Store(nil)
	if len(k.leases) > 0 {
		k.first.Store(k.leases[0])
	}
}

const (
	// closeTimeout bounds Close, whatever etcd does.
	closeTimeout = 1900 * time.Millisecond
	// revokeTimeout bounds the revoking in the background of what is not needed any longer.
	revokeTimeout = 5 * time.Second
)

// Close ends all leases with ErrClosed, revokes them and what was lost, and waits for the Keeper's
// goroutines. It takes at most 2 s; all handles on one client together take at most 2 s while
// nothing answers, and almost no time while it is known that nothing can be reached. The error is of
// leases that were not revoked; they expire by themselves. Close is idempotent.
func (k *Keeper) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	ctx, done := k.etcd.ClosingContext(ctx)
	defer done()
	return k.Shutdown(ctx)
}

// Shutdown is Close with a bound of the caller's: it revokes until ctx ends. The first of several
// calls of Close and Shutdown counts, and the others wait for it.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.closeOnce.Do(func() { k.closeErr = k.shutdown(ctx) })
	return k.closeErr
}

func (k *Keeper) shutdown(ctx context.Context) error {
	k.mu.Lock()
	k.closed = true
	k.background.End()
	ask.ForgetBackground(k)
	leases, lost := slices.Clone(k.leases), k.lost
	if k.granting != nil {
		k.granting.giveUp()
	}
	k.mu.Unlock()
	defer k.endRevoking()
	defer context.AfterFunc(ctx, k.endRevoking)()

	errs := make([]error, len(leases))
	var revoking sync.WaitGroup
	for i, l := range leases {
		if k.etcd.Err() != nil {
			l.endWithClient()
			continue
		}
		l.end(ended(l.id, ErrClosed, "", nil))
		revoking.Go(func() { errs[i] = k.revoke(ctx, l.id) })
	}
	if k.etcd.Err() == nil {
		for _, id := range lost {
			revoking.Go(func() { _ = k.revoke(ctx, id) }) // it has ended, and its user was told why
		}
	}
	revoking.Wait()
	k.running.Wait()
	k.background.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.endedWithClient > 0 {
		return errtext.Errorf("lease: %d leases were not revoked and expire within %v: %w; close the Keeper before its client", k.endedWithClient, k.opts.TTL, ask.ErrClosed)
	}
	return errors.Join(errs...)
}

// revoke returns when the lease is gone, or ctx done.
func (k *Keeper) revoke(ctx context.Context, id clientv3.LeaseID) error {
	var latest error
	t := tries[struct{}]{
		etcd:     k.etcd,
		routes:   k.routes(),
		patience: min(k.opts.TTL/9, grantPatience),
		most:     maxGrantPause,
		maxPause: maxGrantPause,
		try: func(ctx context.Context, route string) (struct{}, error) {
			return struct{}{}, k.etcd.revoke(ctx, route, id)
		},
		failed: func(err error) bool {
			latest = err
			denied, _ := denial(err)
			return denied
		},
	}
	if _, err := t.run(ctx); err != nil {
		if latest == nil {
			latest = err
		}
		return errtext.Errorf("lease: revoke %x (it expires within %v): %w", int64(id), k.opts.TTL, latest)
	}
	return nil
}

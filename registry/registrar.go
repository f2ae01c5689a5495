package registry

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrExists: a live process has the key: another one, whose host and pid the error names, or this one.
	ErrExists = errors.New("registry: registered by another process")
	// ErrUnauthorised: etcd does not let this user write the key, or read it.
	ErrUnauthorised = lease.ErrUnauthorised
	// ErrClosed: the registrar was closed, or its Keeper, or the etcd client below it; the error
	// says which.
	ErrClosed = errors.New("registry: closed")
)

// As in package lease.
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
	// TTL is how long an instance outlives a process that was killed. Default 10 s, also for a TTL below
	// 0; etcd's minimum is 2 s, and a shorter TTL is 2 s. A Keeper has its own TTL: with both the error
	// is ErrInvalid.
	TTL time.Duration
	// Keeper is shared, and stays open. Default: the Registrar has one of its own.
	Keeper *lease.Keeper
	// Checks are run for each instance, once before it is first written and then until Close. The
	// worse of what they find and of the instance's own Status is what consumers see; an instance
	// that is draining or in maintenance stays so.
	Checks []health.Check
	// AwaitServing makes Register wait until no check is critical, and write nothing before: an instance
	// appears when it can serve. Register's ctx bounds the wait; when it ends, the error names the check and
	// what the check said. Without AwaitServing an instance that cannot serve yet appears as critical. Without
	// Checks it is ErrInvalid.
	AwaitServing bool
	// LeaveNotice is how long Leave waits for consumers to hear that an instance is draining, before it
	// finishes what the instance has. Default 1 s; negative: no time.
	LeaveNotice time.Duration
	// Logger gets one line for each change of a registration's state. nil is silent.
	Logger *slog.Logger

	verifyEvery time.Duration // of tests; 0: verifyEvery
}

// Registrar keeps instances registered: through a lost lease, a deleted key, an outage of etcd.
// Its methods may be called from any goroutine.
type Registrar struct {
	prefix    string
	notice    time.Duration // LeaveNotice
	table     *table
	checks    *checks
	closer    *closer
	leaveOnce firstCall
}

// New returns a Registrar. It sends nothing; the error is ErrInvalid.
func New(cli *clientv3.Client, opts *Options) (*Registrar, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	if err := validPrefix(o.Prefix); err != nil {
		return nil, err
	}
	if err := health.Validate(o.Checks...); err != nil {
		return nil, errtext.New("registry: "+errtext.Text(err), ErrInvalid, err)
	}
	switch {
	case o.Keeper != nil && o.TTL != 0:
		return nil, fmt.Errorf("%w: the options TTL and Keeper are both set: a Keeper has a TTL of its own", ErrInvalid)
	case o.AwaitServing && len(o.Checks) == 0:
		return nil, fmt.Errorf("%w: the option AwaitServing is set without Checks: there is nothing to wait for", ErrInvalid)
	}
	keeper, ownKeeper := o.Keeper, o.Keeper == nil
	if ownKeeper {
		keeper = lease.NewKeeper(cli, &lease.Options{TTL: o.TTL})
	}
	ttl := max(cmp.Or(max(o.TTL, 0), defaultTTL), minTTL)
	t := newTable(cli, keeper, o.Logger)
	t.watcher = newWatcher(t)
	w := &worker{
		table: t, pauses: ask.Jitter{First: firstPause, Most: maxPause}, verifyEvery: cmp.Or(o.verifyEvery, verifyEvery), ownKeeper: ownKeeper,
		writer: &writer{
			cli: cli, keeper: keeper, ownKeeper: ownKeeper, table: t,
			late: &lateWrites{cli, t.etcd, keeper}, owners: &ownerCheck{cli, o.Prefix, t}, overrides: newOverrides(cli, o.Prefix, t),
		},
	}
	if ownKeeper {
		w.pauses.Most = min(maxPause, ttl/4) // so that it is back within the TTL
	}
	c := &checks{table: t, all: slices.Clone(o.Checks), await: o.AwaitServing}
	w.start()
	return &Registrar{
		prefix: o.Prefix, notice: cmp.Or(o.LeaveNotice, defaultNotice), table: t, checks: c,
		closer: &closer{table: t, checks: c, worker: w, keeper: keeper, ownKeeper: ownKeeper, ttl: ttl},
	}, nil
}

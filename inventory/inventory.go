package inventory

import (
	"cmp"
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

var (
	// ErrNotFound: there is no lease of that id. It has expired, or was revoked, or never was. It is a lease.ErrNotFound.
	ErrNotFound = errtext.New("inventory: no such lease", lease.ErrNotFound)
	// ErrDenied: etcd refuses the client's user the list of leases, and it is not known which keys the user may
	// read instead: the client has no user name. Name them in Options.Prefixes.
	ErrDenied = errors.New("inventory: permission denied")
	// ErrInvalid: an option is wrong. Nothing was sent.
	ErrInvalid = errors.New("inventory: invalid argument")
)

// Inventory is what coordinates in a cluster.
type Inventory struct {
	Leases    []*Lease          // by id
	Locks     []*lock.Queue     // that have an entry, by name
	Elections []*election.Queue // that have a candidate, by name
	Services  []*Service        // that have an instance on a lease, by prefix and name
	Revision  int64             // of the keys
	// Ranges are the only keys that were read, as the user may not list the leases; nil: no such limit. A key outside
	// them is missing, and so is a lease without a key in them.
	Ranges []keys.Range
	// OmittedLeases and OmittedKeys count what is there but was not read: Options.MostLeases and MostKeys.
	OmittedLeases, OmittedKeys int
	// Incomplete are the names of locks and elections with more keys below them than were read: 10,000 each, and
	// Options.MostKeys in all. Their keys on leases are there. Where one of the others is older, the holder or leader
	// is not known.
	Incomplete []string
}

// Lease is one lease of the cluster.
type Lease struct {
	ID      clientv3.LeaseID
	Granted time.Duration // its TTL: what a renewal makes of Remaining
	// Remaining is when it ends unless it is renewed, in whole seconds, rounded down. It is a lower bound: after a
	// change of leader each lease has its whole TTL again. It counts from ReadAt.
	Remaining time.Duration
	ReadAt    time.Time // when the answer came
	// Keys are those attached to it, in their order. KeyCount counts those left out, too: see Inventory. It is -1 if
	// the user may not read all of them: Keys are then those in the permitted ranges.
	Keys     []Key
	KeyCount int

	attached []string // of Keys and more
}

// Kind tells what a key is.
type Kind string

// Kinds of a key.
const (
	KindLock      Kind = "lock"
	KindCandidate Kind = "candidate"
	KindInstance  Kind = "instance"
	KindPlain     Kind = "plain"
)

// Key is one that is attached to a lease. What other processes wrote can contain anything: print it with %q, or
// use String.
type Key struct {
	Key            string
	Kind           Kind
	CreateRevision int64
	ModRevision    int64
	Version        int64
	ValueSize      int // in bytes

	// One of these is set, as Kind says; none for KindPlain.
	Entry     *lock.Entry
	Candidate *election.Candidate
	Instance  *registry.Instance
}

// Service is a service and its instances that are on a lease.
type Service struct {
	Prefix    string // of the service's name in its keys, such as registry.DefaultPrefix
	Name      string
	Instances []ServiceInstance // by id
}

// ServiceInstance is an instance of a Service.
type ServiceInstance struct {
	registry.Instance
	Key   string
	Lease clientv3.LeaseID
}

// Options of Read and Lookup. nil and the zero value are the defaults.
type Options struct {
	// Prefixes are where keys are of interest: others are counted on their lease, but not read. And they are what is
	// read in pages if the user may not list the leases. Default: every key; or what the roles of the user permit.
	Prefixes []string
	// MostLeases and MostKeys are how many leases and keys are read. Default 10,000 and 100,000. Of a value that is no
	// instance's, 8 KiB are kept at most.
	MostLeases, MostKeys int
	// Concurrency is how many requests are under way at a time. Default 16.
	Concurrency int
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.MostLeases < 0 || opts.MostKeys < 0 || opts.Concurrency < 0 {
		return opts, errtext.Errorf("%w: MostLeases %d, MostKeys %d, Concurrency %d: want none below 0", ErrInvalid, opts.MostLeases, opts.MostKeys, opts.Concurrency)
	}
	opts.MostLeases, opts.MostKeys = cmp.Or(opts.MostLeases, 10_000), cmp.Or(opts.MostKeys, 100_000)
	opts.Concurrency = cmp.Or(opts.Concurrency, 16)
	return opts, nil
}

// Read reads the inventory. Each request has up to 15 s; ctx bounds them all.
func Read(ctx context.Context, cli *clientv3.Client, opts *Options) (*Inventory, error) {
	r, ctx, end, err := newReader(ctx, cli, opts)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := r.readAll(ctx); err != nil {
		return nil, r.explained("read", err)
	}
	return r.inventory(), nil
}

// Lookup reads one lease with its keys. The error is ErrNotFound if there is no such lease. Of opts,
// MostLeases does not count.
func Lookup(ctx context.Context, cli *clientv3.Client, id clientv3.LeaseID, opts *Options) (*Lease, error) {
	r, ctx, end, err := newReader(ctx, cli, opts)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := r.readOne(ctx, id); err != nil {
		return nil, r.explained("look up lease "+leaseText(id), err)
	}
	return r.inventory().Leases[0], nil
}

// explained is the error of a read that failed.
func (r *reader) explained(doing string, err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDenied) {
		return err
	}
	return errtext.Errorf("inventory: %s: %w", doing, ask.Of(r.cli).Explain(err))
}

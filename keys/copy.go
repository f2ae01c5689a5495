package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// CopyOptions of Copy. nil and the zero value are the defaults.
type CopyOptions struct {
	// Delete deletes what is below the destination's prefix only: the destination becomes what the source is.
	// Otherwise such keys stay.
	Delete bool
	// DryRun finds out what there is to do, and writes nothing.
	DryRun bool

	// Each is called for each key of the destination, with what was done; with DryRun, what would be. It may be nil.
	Each func(key string, a Action)
	// Progress is called from time to time. It may be nil.
	Progress func(Progress)
}

// Copy makes the keys below a prefix of one cluster, as they are at one revision, the keys below a prefix of the same or
// another cluster. It writes over what is different, where Import keeps it by default, and writes only that: a copy that
// was interrupted goes on when it is started again. See CopyOptions.DryRun to look first.
//
// Leases are re-made: a lease at the destination for each one of the source, with its TTL. It is kept alive until Copy
// returns; then its TTL runs, and nothing renews it. Follow keeps it alive as long as the source's. If one ends
// before, as in an outage that is longer than its TTL, Copy writes the rest and then fails with ErrLeaseEnded.
//
// Prefixes of one cluster, of which one begins with the other, are an ErrInvalid. Copy goes on for 30 s while no member
// of one of the clusters answers.
func Copy(ctx context.Context, src *clientv3.Client, srcPrefix string, dst *clientv3.Client, dstPrefix string, opts *CopyOptions) (Counts, error) {
	c := newCopier(src, srcPrefix, dst, dstPrefix, opts)
	defer c.w.leases.close()
	err := c.copy(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		err = errtext.Errorf("keys: copy ended after %d keys; again, it goes on there: %w", c.counts.Read, context.Cause(ctx))
	case err != nil:
		err = errtext.Errorf("keys: copy %q to %q, after %d keys: %w", srcPrefix, dstPrefix, c.counts.Read, err)
	}
	return c.counts, err
}

// copier copies, once or on and on.
type copier struct {
	CopyOptions
	src, dst             *clientv3.Client
	srcPrefix, dstPrefix string

	w      *writer // of the destination
	counts Counts
	now    Progress // without its counts
}

func newCopier(src *clientv3.Client, srcPrefix string, dst *clientv3.Client, dstPrefix string, opts *CopyOptions) *copier {
	c := &copier{src: src, dst: dst, srcPrefix: srcPrefix, dstPrefix: dstPrefix}
	if opts != nil {
		c.CopyOptions = *opts
	}
	c.w = &writer{
		retrier: retrier{etcd: ask.Of(dst), patience: patience, waiting: c.waiting}, cli: dst, leases: newLeases(dst), unsure: make(map[string]bool),
		overwrite: true, dry: c.DryRun, counts: &c.counts, each: c.Each, done: c.report,
	}
	return c
}

func (c *copier) waiting(why error) {
	c.now.Waiting = why
	c.report()
}

func (c *copier) report() {
	if c.Progress != nil {
		p := c.now
		p.Counts = c.counts
		c.Progress(p)
	}
}

// there is the destination's key for one of the source.
func (c *copier) there(key string) string { return c.dstPrefix + strings.TrimPrefix(key, c.srcPrefix) }

// open opens an export that is as patient as the writes are: Follow waits without a bound.
func (c *copier) open(ctx context.Context, cli *clientv3.Client, prefix string, revision int64) (*Export, error) {
	return openExport(ctx, cli, prefix, &ExportOptions{Revision: revision, Waiting: c.waiting}, c.w.patience)
}

// check refuses to copy a prefix into itself. It sends a small read to both clusters.
func (c *copier) check(ctx context.Context) error {
	from, err := c.open(ctx, c.src, c.srcPrefix, 0)
	if err != nil {
		return errtext.Errorf("the source: %w", err)
	}
	to, err := c.open(ctx, c.dst, c.dstPrefix, 0)
	if err != nil {
		return errtext.Errorf("the destination: %w", err)
	}
	if !strings.HasPrefix(c.srcPrefix, c.dstPrefix) && !strings.HasPrefix(c.dstPrefix, c.srcPrefix) {
		return nil
	}
	if same, err := c.sameCluster(ctx, from, to); err != nil {
		return err
	} else if same {
		return fmt.Errorf("%w: %q and %q overlap on the same cluster: the copy would copy itself", ErrInvalid, c.srcPrefix, c.dstPrefix)
	}
	return nil
}

// sameCluster tells whether both clients are of one cluster. The IDs of clusters that were set up with the same names
// and addresses are the same, so the first key is compared, too.
func (c *copier) sameCluster(ctx context.Context, from, to *Export) (bool, error) {
	if from.ClusterID != to.ClusterID {
		return false, nil
	}
	var first [2]Record
	for i, cli := range []*clientv3.Client{c.src, c.dst} {
		export, err := c.open(ctx, cli, c.srcPrefix, from.Revision)
		if err == nil {
			for record, readErr := range export.Records(ctx) {
				first[i], err = record, readErr
				break
			}
		}
		if i == 1 && (errors.Is(err, ErrCompacted) || errors.Is(err, ErrInvalid)) {
			return false, nil // it does not have the other's revision
		}
		if err != nil {
			return false, err
		}
	}
	a, b := first[0], first[1]
	return a.CreateRevision == b.CreateRevision && a.ModRevision == b.ModRevision && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value), nil
}

// copy copies once.
func (c *copier) copy(ctx context.Context) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	export, err := c.open(ctx, c.src, c.srcPrefix, 0)
	if err != nil {
		return err
	}
	c.counts.Total = export.Count
	here := make(map[string]bool) // the destination's keys that should be there
	for record, err := range export.Records(ctx) {
		if err != nil {
			return err
		}
		key := c.there(string(record.Key))
		if key == "" {
			return fmt.Errorf("%w: key %q would become the empty key", ErrInvalid, record.Key)
		}
		if c.Delete {
			here[key] = true
		}
		if err := c.w.add(ctx, wanted{key: key, value: string(record.Value), lease: record.Lease, ttl: wholeSeconds(record.LeaseTTL)}); err != nil {
			return err
		}
	}
	if c.Delete {
		if err := c.deleteOthers(ctx, func(key string) bool { return here[key] }); err != nil {
			return err
		}
	}
	return c.w.end(ctx)
}

// deleteOthers deletes the destination's keys that should not be there.
func (c *copier) deleteOthers(ctx context.Context, keep func(key string) bool) error {
	export, err := c.open(ctx, c.dst, c.dstPrefix, 0)
	if err != nil {
		return err
	}
	for page, err := range export.pages(ctx) {
		if err != nil {
			return exportError(c.dstPrefix, export.Revision, err)
		}
		for _, kv := range page {
			if key := string(kv.Key); !keep(key) {
				c.counts.Total++
				if err := c.w.add(ctx, wanted{key: key, absent: true}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

package inventory

import (
	"context"
	"iter"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// readPermitted reads what the user may read, as it may not list the leases.
func (r *reader) readPermitted(ctx context.Context, denied error) error {
	ranges, err := r.permitted(ctx)
	if err != nil {
		return err
	}
	if len(ranges) == 0 {
		return errtext.Errorf("%w: list the leases: %w; and the roles of the user permit no key", ErrDenied, denied)
	}
	r.ranges = ranges
	return r.atOneRevision(ctx, r.readRanges)
}

// readRanges reads the keys in r.ranges, and their leases.
func (r *reader) readRanges(ctx context.Context) error {
	for _, each := range r.ranges {
		if err := r.scan(ctx, each); err != nil {
			return errtext.Errorf("read the keys from %s: %w", quote.Text(each.From), err)
		}
	}
	seen := make(map[clientv3.LeaseID]bool)
	for _, kv := range r.kvs {
		seen[clientv3.LeaseID(kv.Lease)] = true
	}
	ids := make([]clientv3.LeaseID, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if err := r.lookUp(ctx, r.bounded(ids)); err != nil {
		return err
	}
	return r.completeQueues(ctx)
}

// permitted are the ranges to read: the caller's, or those of the user's roles.
func (r *reader) permitted(ctx context.Context) ([]keys.Range, error) {
	if len(r.Prefixes) > 0 {
		var ranges []keys.Range
		for _, p := range r.Prefixes {
			ranges = append(ranges, keys.Prefix(p))
		}
		return ranges, nil
	}
	if r.cli.Username == "" {
		return nil, errtext.Errorf("%w: the user may not read the key of each lease, so etcd does not list them, and without a user name it is not known what the user may read: name the prefixes", ErrDenied)
	}
	user, err := ask.Read(ctx, r.cli, func(ctx context.Context) (*clientv3.AuthUserGetResponse, error) {
		return r.cli.UserGet(ctx, r.cli.Username)
	})
	if err != nil {
		return nil, errtext.Errorf("read the roles of user %s: %w", quote.Word(r.cli.Username), err)
	}
	var ranges []keys.Range
	for _, name := range user.Roles {
		role, err := ask.Read(ctx, r.cli, func(ctx context.Context) (*clientv3.AuthRoleGetResponse, error) {
			return r.cli.RoleGet(ctx, name)
		})
		if err != nil {
			return nil, errtext.Errorf("read role %s: %w", quote.Word(name), err)
		}
		for _, p := range role.Perm {
			if p.PermType != authpb.WRITE {
				ranges = append(ranges, keys.Range{From: string(p.Key), End: string(p.RangeEnd)})
			}
		}
	}
	return ranges, nil
}

// scan keeps the keys of a range that have a lease.
func (r *reader) scan(ctx context.Context, of keys.Range) error {
	for kvs, err := range r.pages(ctx, of) {
		if ask.Unauthorised(err) && len(r.Prefixes) == 0 {
			return nil // the role has changed since
		}
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			switch {
			case kv.Lease == 0 || r.kvs[string(kv.Key)] != nil:
			case len(r.kvs) >= r.MostKeys:
				r.omittedKeys++
			default:
				r.keep([]*mvccpb.KeyValue{kv})
			}
		}
	}
	return nil
}

// pages reads a range at the revision of the reading.
func (r *reader) pages(ctx context.Context, of keys.Range) iter.Seq2[[]*mvccpb.KeyValue, error] {
	from, end := of.Bounds()
	pages := &ask.Pages{From: from, End: end, Revision: &r.revision}
	return pages.Read(func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
		return ask.Read(ctx, r.cli, func(ctx context.Context) (*clientv3.GetResponse, error) { return r.cli.Get(ctx, from, opts...) })
	})
}

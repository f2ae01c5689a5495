package keys

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Kind is what a change did to a key.
type Kind string

// Kinds of changes.
const (
	Created Kind = "create" // the key did not exist before
	Updated Kind = "put"
	Deleted Kind = "delete" // also by the end of its lease: etcd does not tell which
)

// Change is one change of a key.
type Change struct {
	Kind     Kind
	Revision int64 // that the change made
	// Value, CreateRevision, Version and Lease are those of the key after it. They are zero for Deleted.
	Value          []byte
	CreateRevision int64
	Version        int64
	Lease          clientv3.LeaseID
}

// Gap is a part of a history that was not searched: the key may have been created and deleted again after one
// revision and before another.
type Gap struct{ After, Before int64 }

// History is what etcd still has of a key.
type History struct {
	Key      string
	Revision int64 // of etcd when it was read
	// Exists tells whether the key existed at Revision, or at HistoryOptions.To.
	Exists bool
	// Changes are the newest ones, the newest first.
	Changes []Change
	// More says that HistoryOptions.Limit cut older changes off.
	More bool
	// Compacted is not 0 where the history goes back as far as etcd does, but not to the first revision: older
	// changes than this revision are compacted away. What the key was at this revision is still there.
	Compacted int64
	// Gaps are the parts that were not searched, the newest first.
	Gaps []Gap
}

// HistoryOptions of ReadHistory and Undelete. nil and the zero value are the defaults.
type HistoryOptions struct {
	// Limit is how many changes are read: the newest ones. Default 100.
	Limit int
	// From and To bound the revisions of the changes. 0: from the first one, up to now.
	From, To int64
	// Search is how many revisions back from now deletions of the key are searched for, one by one. A member
	// reads every change of every key for that and lets no write pass meanwhile: some seconds for a million
	// of them. Default 20,000. Beyond it, only a life of the key is found that lasted long enough.
	Search int64
}

func (o *HistoryOptions) orDefault() (HistoryOptions, error) {
	var opts HistoryOptions
	if o != nil {
		opts = *o
	}
	if min(int64(opts.Limit), opts.Search, opts.From, opts.To) < 0 {
		return opts, fmt.Errorf("%w: %+v: want no number below 0", ErrInvalid, opts)
	}
	if opts.To > 0 && opts.From > opts.To {
		return opts, fmt.Errorf("%w: from revision %d to %d: want them in order", ErrInvalid, opts.From, opts.To)
	}
	if opts.Limit == 0 {
		opts.Limit = 100
	}
	if opts.Search == 0 {
		opts.Search = 20_000
	}
	return opts, nil
}

// ReadHistory reads the newest changes of a key, back to where etcd has been compacted. It costs one request
// for each change.
//
// etcd finds the change before a change by its revision, but a key that does not exist has none: deletions are
// searched for among all changes of the last HistoryOptions.Search revisions. Before that, ReadHistory looks at
// the key at revisions that are 1, 2, 4, 8… further back until it finds it, and then for the deletion after
// that: lives of the key that were shorter than these steps are not found. Gaps tells where.
//
// Each request waits for its answer until ctx is done, or for 15 s; the search for deletions, as long as no member gets
// on with it for a minute. A member without a leader is left for another one.
func ReadHistory(ctx context.Context, cli *clientv3.Client, key string, opts *HistoryOptions) (*History, error) {
	o, err := opts.orDefault()
	if err == nil && key == "" {
		err = fmt.Errorf("%w: the key is empty", ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	ctx, done := ask.Of(cli).WhileOpen(ctx)
	defer done()
	s := &historian{reader: &reader{cli: cli}, options: o, History: &History{Key: key}}
	if err := s.read(ctx); err != nil {
		return nil, errtext.Errorf("keys: history of %s: %w", quote.Text(key), explain(cli, err))
	}
	return s.History, nil
}

// historian reads a History.
type historian struct {
	*reader
	options HistoryOptions
	*History

	deletions []int64 // that were found and are not in the History, the newest last
	searched  int64   // down to this revision
}

func (s *historian) read(ctx context.Context) error {
	r, err := open(ctx, s.cli, s.Key, 0)
	if err != nil {
		return err
	}
	s.History.Revision, s.searched = r.revision, r.revision+1
	at := r.revision
	if s.options.To > 0 {
		at = min(at, s.options.To)
	}
	for newest := at; at > 0; {
		kv, err := s.keyAt(ctx, at)
		if errors.Is(err, rpctypes.ErrCompacted) {
			s.Compacted, err = s.compaction(ctx)
			return err
		}
		if err != nil {
			return err
		}
		if at == newest {
			s.Exists = kv != nil
		}
		var change Change
		switch {
		case kv != nil:
			change, at = newChange(kv), kv.ModRevision-1
		default:
			deletion, err := s.deletionBefore(ctx, at)
			if deletion == 0 || err != nil {
				return err
			}
			change, at = Change{Kind: Deleted, Revision: deletion}, deletion-1
		}
		if change.Revision < s.options.From {
			return nil
		}
		if s.More = len(s.Changes) == s.options.Limit; s.More {
			return nil
		}
		s.Changes = append(s.Changes, change)
	}
	return nil
}

func newChange(kv *mvccpb.KeyValue) Change {
	c := Change{
		Kind: Updated, Revision: kv.ModRevision, Value: kv.Value,
		CreateRevision: kv.CreateRevision, Version: kv.Version, Lease: clientv3.LeaseID(kv.Lease),
	}
	if kv.Version == 1 {
		c.Kind = Created
	}
	return c
}

// keyAt is the key as it was at a revision; nil if it did not exist.
func (s *historian) keyAt(ctx context.Context, revision int64) (kv *mvccpb.KeyValue, err error) {
	s.reader.revision = revision
	err = s.do(ctx, func(ctx context.Context, at []clientv3.OpOption) error {
		resp, err := s.cli.Get(ctx, s.Key, at...)
		if err == nil && len(resp.Kvs) == 1 {
			kv = resp.Kvs[0]
		}
		return err
	})
	return kv, err
}

// deletionBefore finds the newest deletion of a key that does not exist at a revision. 0: there is none.
func (s *historian) deletionBefore(ctx context.Context, at int64) (int64, error) {
	oldest := max(s.History.Revision-s.options.Search, 1)
	for {
		if n := len(s.deletions); n > 0 {
			found := s.deletions[n-1]
			s.deletions = s.deletions[:n-1]
			return found, nil
		}
		s.searched = min(s.searched, at+1)
		if s.searched <= max(oldest, s.Compacted) {
			break
		}
		// The first part is small, as most who ask deleted the key just now.
		from := max(oldest, s.History.Revision-max(firstSearch, (s.History.Revision-s.searched+1)*8))
		if err := s.search(ctx, min(from, s.searched-1), s.searched-1); err != nil {
			return 0, err
		}
	}
	if s.searched <= max(1, s.Compacted) {
		return 0, nil
	}
	return s.probe(ctx, s.searched)
}

// probe looks for a revision below one at which the key existed, in steps that double, and then for the end of
// that life.
func (s *historian) probe(ctx context.Context, below int64) (deletion int64, err error) {
	absent, alive := below, int64(0)
	for step := int64(1); alive == 0; step *= 2 {
		at := max(below-step, 1, s.Compacted)
		if at >= absent {
			s.Gaps = append(s.Gaps, Gap{After: max(s.Compacted, 0), Before: below})
			return 0, nil
		}
		kv, err := s.keyAt(ctx, at)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			if s.Compacted, err = s.compaction(ctx); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case kv != nil:
			alive = at
		default:
			absent = at
		}
	}
	for absent-alive > 1 {
		middle := alive + (absent-alive)/2
		kv, err := s.keyAt(ctx, middle)
		if err != nil {
			return 0, err
		}
		if kv != nil {
			alive = middle
		} else {
			absent = middle
		}
	}
	if below-absent > 1 {
		s.Gaps = append(s.Gaps, Gap{After: absent, Before: below})
	}
	return absent, nil
}

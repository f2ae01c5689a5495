package keys

import (
	"context"
	"fmt"
	"iter"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Range is the keys from one up to another, which is not among them, as etcd has it: End "" is the one key From, and
// NoEnd is up to the last key. So it means the same as in clientv3.WithRange, in the roles of etcd's users and in
// mirror.Options.RangeEnd. The zero value is all keys for Count and Scan; Delete refuses it, and takes All.
type Range struct{ From, End string }

// NoEnd is the End of a Range up to the last key.
const NoEnd = "\x00"

// Prefix is the keys that begin with a prefix. With the empty prefix it is the zero Range.
func Prefix(prefix string) Range {
	if prefix == "" {
		return Range{}
	}
	return Range{prefix, clientv3.GetPrefixRangeEnd(prefix)}
}

// All is all keys of the cluster, also for Delete. It is not the zero Range, so that a field that was forgotten, or a
// prefix that is empty by mistake, deletes nothing.
func All() Range { return Range{first(""), NoEnd} }

// Bounds are the key and the end of a request for the range.
func (r Range) Bounds() (key, end string) {
	if r == (Range{}) {
		r = All()
	}
	return first(r.From), r.End
}

// String is the range for people: a prefix if it is one.
func (r Range) String() string {
	switch {
	case r == Range{}, r == All():
		return "all keys"
	case r == Prefix(r.From):
		return "keys with the prefix " + quote.Text(r.From)
	case r.End == "":
		return "the key " + quote.Text(r.From)
	case r.End == NoEnd:
		return "keys from " + quote.Text(r.From)
	}
	return fmt.Sprintf("keys from %s up to %s", quote.Text(r.From), quote.Text(r.End))
}

// check refuses a range that has no key, as one whose ends are in the wrong order.
func (r Range) check() error {
	if r.End != "" && r.End != NoEnd && r.End <= r.From {
		return fmt.Errorf("%w: no key is from %s up to %s", ErrInvalid, quote.Text(r.From), quote.Text(r.End))
	}
	return nil
}

// Count asks how many keys a range has now.
func Count(ctx context.Context, cli *clientv3.Client, r Range) (int64, error) {
	if err := r.check(); err != nil {
		return 0, err
	}
	ctx, done := ask.Of(cli).WhileOpen(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key, end := r.Bounds()
	resp, err := cli.Get(ctx, key, clientv3.WithRange(end), clientv3.WithCountOnly())
	if err != nil {
		return 0, errtext.Errorf("keys: count %v: %w", r, explain(cli, err))
	}
	return resp.Count, nil
}

// ScanOptions of Scan. nil and the zero value are the defaults.
type ScanOptions struct {
	// Revision is when. 0 is now.
	Revision int64
	// KeysOnly leaves out the values, and with them the leases: etcd 3.7 does not tell those alone.
	KeysOnly bool
}

// Scan yields the keys of a range in order, as they were at one revision, however many they are: in one
// streamed request where the members can, and else in pages.
//
// It ends by break, or with one final error: ErrCompacted if the revision is compacted.
func Scan(ctx context.Context, cli *clientv3.Client, r Range, opts *ScanOptions) iter.Seq2[*mvccpb.KeyValue, error] {
	return func(yield func(*mvccpb.KeyValue, error) bool) {
		var o ScanOptions
		if opts != nil {
			o = *opts
		}
		err := r.check()
		if err == nil && o.Revision < 0 {
			err = fmt.Errorf("%w: revision %d: want 0 or more", ErrInvalid, o.Revision)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, done := ask.Of(cli).WhileOpen(ctx)
		defer done()
		from, err := open(ctx, cli, r.From, o.Revision)
		if err == nil {
			from.whole = !o.KeysOnly
			for page, failed := range from.pages(ctx, r) {
				if err = failed; err != nil {
					break
				}
				for _, kv := range page {
					if !yield(kv, nil) {
						return
					}
				}
			}
		}
		if err != nil {
			yield(nil, errtext.Errorf("keys: read %v: %w", r, explain(cli, err)))
		}
	}
}

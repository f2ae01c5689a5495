package keys

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// LevelOptions of Level and Tree. nil and the zero value are the defaults.
type LevelOptions struct {
	// Separator ends the name of a folder. Default "/".
	Separator string
	// Revision is when. 0 is now.
	Revision int64
	// Values reads the values and the leases of the keys, 64 keys at a time. Without it etcd does not tell
	// the lease of a key either, from version 3.7 on.
	Values bool
	// Depth is how many levels Tree shows. 0: all.
	Depth int
}

func (o *LevelOptions) orDefault() (LevelOptions, error) {
	var opts LevelOptions
	if o != nil {
		opts = *o
	}
	if opts.Separator == "" {
		opts.Separator = "/"
	}
	if opts.Revision < 0 || opts.Depth < 0 {
		return opts, fmt.Errorf("%w: revision %d and depth %d: want 0 or more", ErrInvalid, opts.Revision, opts.Depth)
	}
	return opts, nil
}

// Child is what is directly below a prefix under one name: a key, a folder of keys, or both.
type Child struct {
	// Name follows the prefix. It is empty for the key that is the prefix itself, and for the folder of
	// "a//b" below "a/".
	Name string
	// Path is the prefix and the name: the key, if there is one.
	Path string
	// Below is the prefix of the keys in the folder: Path and the separator. It is "" if there are none.
	Below string
	// Key is the key of that name; nil if there is none. Its Value and Lease are set with
	// LevelOptions.Values only.
	Key *mvccpb.KeyValue
	// Revision is that of the whole level.
	Revision int64
}

// Level yields the children of a prefix, as they were at one revision. It costs two requests, one more for about
// each folder of more than a hundred keys, however many there are in it, and one for 64 values.
//
// A prefix is not a folder: the children of "shop" are below every key that begins with "shop". Give it as
// "shop/", or "" for all.
//
// Children come in the order of etcd's keys. A key whose folder begins later, as other names sort between
// "a" and "a/", is held back until then: at most a thousand are.
//
// It ends by break, or with one final error: ErrCompacted if the revision is compacted.
func Level(ctx context.Context, cli *clientv3.Client, prefix string, opts *LevelOptions) iter.Seq2[*Child, error] {
	return list(ctx, cli, prefix, opts, func(c *Child) **mvccpb.KeyValue { return &c.Key }, func(ctx context.Context, r *reader, o LevelOptions) iter.Seq2[*Child, error] {
		return r.level(ctx, prefix, o.Separator)
	})
}

// list yields what read makes of the keys below a prefix, with values where they are wanted: of is the key of each.
func list[T any](ctx context.Context, cli *clientv3.Client, prefix string, opts *LevelOptions, of func(T) **mvccpb.KeyValue,
	read func(context.Context, *reader, LevelOptions) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		o, err := opts.orDefault()
		if err != nil {
			yield(none, err)
			return
		}
		ctx, done := ask.Of(cli).WhileOpen(ctx)
		defer done()
		fail := func(err error) {
			yield(none, errtext.Errorf("keys: list %s: %w", quote.Text(prefix), explain(cli, err)))
		}
		r, err := open(ctx, cli, prefix, o.Revision)
		if err != nil {
			fail(err)
			return
		}
		all := read(ctx, r, o)
		if o.Values {
			all = withValues(ctx, r, all, of)
		}
		for one, err := range all {
			if err != nil {
				fail(err)
				return
			}
			if !yield(one, nil) {
				return
			}
		}
	}
}

// mostHeld is how many children are held back at most for a folder of one of them.
const mostHeld = 1000

// level joins keys and folders of one name.
func (r *reader) level(ctx context.Context, prefix, separator string) iter.Seq2[*Child, error] {
	return func(yield func(*Child, error) bool) {
		l := &joiner{reader: r, prefix: prefix, separator: separator, yield: yield}
		for s, err := range r.walk(ctx, prefix, separator, 1) {
			if err == nil {
				err = l.add(ctx, s)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if l.ended {
				return
			}
		}
		l.flush("")
	}
}

// joiner holds a key back until its folder can no longer follow.
type joiner struct {
	*reader
	prefix, separator string
	yield             func(*Child, error) bool

	held  []*Child
	told  map[string]bool // folders that come later, and were yielded with their key already
	ended bool
}

func (l *joiner) add(ctx context.Context, s step) error {
	if s.kv != nil {
		l.held = append(l.held, &Child{Name: s.path[len(l.prefix):], Path: s.path, Key: s.kv, Revision: l.revision})
	} else {
		l.folder(s.path)
	}
	l.flush(s.path)
	if len(l.held) <= mostHeld || l.ended {
		return nil
	}
	oldest := l.held[0]
	below := oldest.Path + l.separator
	for page, err := range l.pages(ctx, Prefix(below)) {
		if err != nil {
			return err
		}
		if len(page) > 0 {
			oldest.Below = below
		}
		break
	}
	if l.told == nil {
		l.told = make(map[string]bool)
	}
	l.told[below] = true
	l.flush(s.path)
	return nil
}

// folder gives a folder to its key, if that is held.
func (l *joiner) folder(below string) {
	if l.told[below] {
		return
	}
	path := strings.TrimSuffix(below, l.separator)
	for _, c := range l.held {
		if c.Path == path {
			c.Below = below
			return
		}
	}
	l.held = append(l.held, &Child{Name: path[len(l.prefix):], Path: path, Below: below, Revision: l.revision})
}

// flush yields those whose folder is known, or cannot follow a key that the walk has come to; "" is its end.
func (l *joiner) flush(at string) {
	for len(l.held) > 0 && !l.ended {
		c := l.held[0]
		if below := c.Path + l.separator; c.Below == "" && at != "" && at < below && !l.told[below] {
			return
		}
		l.held = l.held[1:]
		l.ended = !l.yield(c, nil)
	}
}

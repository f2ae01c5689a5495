package keys

import (
	"context"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Node is a key or a folder of a Tree.
type Node struct {
	// Name is the last part of Path, without a separator. It can be empty, as in "a//b".
	Name string
	// Path is the key; of a folder the prefix of its keys, which ends with the separator.
	Path string
	// Depth is 1 for what is directly below the prefix.
	Depth int
	// Key is nil for a folder. Its Value and Lease are set with LevelOptions.Values only.
	Key *mvccpb.KeyValue
	// Revision is that of the whole tree.
	Revision int64
}

// Tree yields all that is below a prefix, down to LevelOptions.Depth, as it was at one revision. A folder comes
// before what is in it. The order is that of etcd's keys: a key "a" and the folder "a/" are two nodes, and
// "a-b" is between them.
//
// It reads the keys it shows in one request, which a break ends, and skips the rest of a folder that is too deep
// as Level does.
//
// It ends by break, or with one final error: ErrCompacted if the revision is compacted.
func Tree(ctx context.Context, cli *clientv3.Client, prefix string, opts *LevelOptions) iter.Seq2[*Node, error] {
	return list(ctx, cli, prefix, opts, func(n *Node) **mvccpb.KeyValue { return &n.Key }, func(ctx context.Context, r *reader, o LevelOptions) iter.Seq2[*Node, error] {
		return r.tree(ctx, prefix, o.Separator, o.Depth)
	})
}

func (r *reader) tree(ctx context.Context, prefix, separator string, depth int) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		for s, err := range r.walk(ctx, prefix, separator, depth) {
			if err != nil {
				yield(nil, err)
				return
			}
			name := s.path[len(prefix):]
			if s.kv == nil {
				name = strings.TrimSuffix(name, separator)
			}
			if s.depth > 1 {
				name = name[strings.LastIndex(name, separator)+len(separator):]
			}
			if !yield(&Node{Name: name, Path: s.path, Depth: s.depth, Key: s.kv, Revision: r.revision}, nil) {
				return
			}
		}
	}
}

package keys

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	firstSearch   = 1000 // revisions
	askProgress   = 100 * time.Millisecond
	searchTimeout = time.Minute // without a newer revision: a member reads all that has changed since
)

// search finds the deletions of the key from a revision up to another. It lowers searched, and sets Compacted
// if that is in the way.
//
// It is a watch that starts in the past: etcd has no other request that reads changes.
func (s *historian) search(ctx context.Context, from, upto int64) error {
	for {
		found, compacted, err := s.watch(ctx, from, upto)
		if err != nil {
			return err
		}
		if compacted == 0 {
			s.deletions, s.searched = found, from
			return nil
		}
		s.Compacted, from = compacted, compacted
		if from > upto {
			s.searched = from
			return nil
		}
	}
}

// errWatchEnded is why a search is made again: etcd can end a watch without an error.
var errWatchEnded = errors.New("the search for deletions: etcd ended the watch without a reason")

// watch is tryWatch, some times if need be: another member may do what one cannot.
func (s *historian) watch(ctx context.Context, from, upto int64) (deletions []int64, compacted int64, err error) {
	for failures := 1; ; failures++ {
		deletions, compacted, err = s.tryWatch(ctx, from, upto)
		var silent ask.NoAnswerWithin
		if err == nil || ctx.Err() != nil || failures == mostFailures || errors.As(err, &silent) || ask.ClassOf(err) == ask.Final {
			return deletions, compacted, err
		}
	}
}

// compaction asks for the revision that etcd is compacted to, once a read was refused for it.
func (s *historian) compaction(ctx context.Context) (int64, error) {
	_, compacted, err := s.watch(ctx, 1, 1)
	if err == nil && compacted == 0 {
		err = errors.New("the members disagree about the compaction")
	}
	return compacted, err
}

// tryWatch returns the deletions in a range of revisions, or the revision that etcd is compacted to, if that is
// greater than from. A member that is cut off from the others would report the same revision for ever: it is asked
// to say so, and only a revision that grows counts as progress.
func (s *historian) tryWatch(ctx context.Context, from, upto int64) (deletions []int64, compacted int64, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	w := clientv3.NewWatcher(s.cli) // a stream of its own: progress is that of all watches of a stream
	defer w.Close()
	events := w.Watch(ctx, s.Key, clientv3.WithRev(from))
	at := int64(0)                          // the newest revision that the member has told
	progress := time.NewTicker(askProgress) // a member is silent about progress while the watch is behind
	defer progress.Stop()
	silent := time.NewTimer(searchTimeout)
	defer silent.Stop()
	for {
		select {
		case r, ok := <-events:
			if !ok {
				if ctx.Err() != nil {
					return nil, 0, context.Cause(ctx)
				}
				return nil, 0, errWatchEnded
			}
			if r.CompactRevision != 0 {
				return nil, r.CompactRevision, nil
			}
			if err := r.Err(); err != nil {
				return nil, 0, err
			}
			for _, e := range r.Events {
				if e.Kv.ModRevision > upto {
					return deletions, 0, nil
				}
				if e.Type == clientv3.EventTypeDelete {
					deletions = append(deletions, e.Kv.ModRevision)
				}
			}
			if r.IsProgressNotify() && r.Header.Revision >= upto {
				return deletions, 0, nil
			}
			if r.Header.Revision > at {
				at = r.Header.Revision
				silent.Reset(searchTimeout)
			}
		case <-progress.C:
			if err := w.RequestProgress(ctx); err != nil {
				return nil, 0, err
			}
		case <-silent.C:
			return nil, 0, errtext.Errorf("the search for deletions: %w", ask.NoAnswerWithin(searchTimeout))
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

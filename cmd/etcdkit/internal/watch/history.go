package watch

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/mirror"
)

// progressEvery is how often etcd is asked how far a watch of the past has come: there may be no event to tell.
const progressEvery = 100 * time.Millisecond

// CompactedError says that a revision cannot be read any more.
type CompactedError struct{ Revision, Oldest int64 }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("revision %d has been compacted away: the oldest that etcd still has is %d", e.Revision, e.Oldest)
}

// history are the changes from one revision to another one, both included.
func history(ctx context.Context, cli *clientv3.Client, first, end string, from, to int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		defer cancel() // ends the watch
		if end == "" {
			end = clientv3.GetPrefixRangeEnd(first)
		}
		if first == "" {
			first = "\x00" // the least key that etcd takes
		}
		watching := cli.Watch(ctx, first, clientv3.WithRange(end), clientv3.WithRev(from), clientv3.WithPrevKV())
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		var pending Batch
		flush := func() bool {
			ready := pending
			pending = Batch{}
			return len(ready.Changes) == 0 || yield(ready, nil)
		}
		next := from
		for next <= to {
			select {
			case resp, ok := <-watching:
				if err := watchError(ctx, cli, resp, ok, next); err != nil {
					yield(Batch{}, err)
					return
				}
				for _, e := range resp.Events {
					if e.Kv.ModRevision > to {
						break
					}
					if e.Kv.ModRevision != pending.Revision && !flush() {
						return
					}
					next = e.Kv.ModRevision
					pending.Revision, pending.Reason = next, Changed
					pending.Changes = append(pending.Changes, change(e))
				}
				if len(resp.Events) > 0 && resp.Events[len(resp.Events)-1].Kv.ModRevision > to || resp.IsProgressNotify() {
					next = max(next, resp.Header.Revision+1)
				}
			case <-tick.C:
				_ = cli.RequestProgress(ctx) // a failure shows in the watch
			case <-ctx.Done():
				yield(Batch{}, context.Cause(ctx))
				return
			}
		}
		flush()
	}
}

// watchError is what ended a watch, or nil.
func watchError(ctx context.Context, cli *clientv3.Client, resp clientv3.WatchResponse, ok bool, next int64) error {
	switch {
	case resp.CompactRevision != 0:
		return &CompactedError{next, resp.CompactRevision}
	case ok && resp.Err() == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case resp.Err() != nil:
		return fmt.Errorf("watch the changes since revision %d: %w", next, ask.Of(cli).Explain(resp.Err()))
	}
	return fmt.Errorf("watch the changes since revision %d: etcd has ended the watch", next)
}

// change is an event as a mirror tells it.
func change(e *clientv3.Event) mirror.Change {
	c := mirror.Change{Key: string(e.Kv.Key), Revision: e.Kv.ModRevision, Old: entry(e.PrevKv)}
	if e.Type != clientv3.EventTypeDelete {
		c.New = entry(e.Kv)
	}
	return c
}

func entry(kv *mvccpb.KeyValue) *mirror.KeyValue {
	if kv == nil {
		return nil
	}
	return &mirror.KeyValue{
		Key: string(kv.Key), Value: string(kv.Value), CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
		Version: kv.Version, Lease: clientv3.LeaseID(kv.Lease),
	}
}

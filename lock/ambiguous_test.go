package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// outcome is what a Commit said.
type outcome struct {
	revision int64 // 0: not known
	settled  bool  // its answer was lost, and etcd's history asked
	err      error
}

// Members are killed while Commits are under way. What a Commit returns is true: after a success its
// write is there, once, at that revision; after ErrLost or another error it is not there; only after
// ErrUnknown it may be either.
func TestWhatCommitsSayIsTrueThoughMembersAreKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const workers = 12
	said := make([]map[string]outcome, workers)
	var working sync.WaitGroup
	for w := range workers {
		cli, key := etcdtest.Client(t, c), fmt.Sprint("written-", w)
		m := withOptions(t, cli, fmt.Sprint("lock-", w), lock.Options{TTL: 10 * time.Second})
		said[w] = make(map[string]outcome)
		working.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				h, err := m.Acquire(ctx)
				if err != nil {
					continue // lost while it waited, or the end
				}
				value := strconv.Itoa(i)
				resp, err := h.Commit(bounded(t), clientv3.OpPut(key, value))
				o := outcome{err: err}
				if err == nil {
					o.revision, o.settled = resp.Header.Revision, resp.Header.MemberId == 0
				}
				said[w][value] = o
			}
		})
	}
	for range memberKills {
		leader := c.Leader()
		<-time.After(500 * time.Millisecond) // of work
		if _, err := c.Kill(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
		<-time.After(500 * time.Millisecond)
		if _, err := c.Start(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	working.Wait()

	cli := etcdtest.Client(t, c)
	var done, settled, lost, unknown, failed int
	for w := range workers {
		written := history(t, cli, fmt.Sprint("written-", w))
		for value, o := range said[w] {
			at := written[value]
			switch {
			case o.err == nil:
				done++
				if o.settled {
					settled++
				}
				if len(at) != 1 || at[0] != o.revision && o.revision != 0 {
					t.Errorf("worker %d was told that %s is written at revision %d, and it is at %v", w, value, o.revision, at)
				}
				continue
			case errors.Is(o.err, lock.ErrUnknown):
				if unknown++; len(at) > 1 {
					t.Errorf("worker %d: %s, of which nothing is known, is written at %v", w, value, at)
				}
				continue
			case errors.Is(o.err, lock.ErrLost):
				lost++
			default:
				failed++
			}
			if len(at) != 0 {
				t.Errorf("worker %d was told of %s: %v, and it is written at %v", w, value, o.err, at)
			}
		}
	}
	t.Logf("%d done, of which %d by etcd's history; %d lost, %d unknown, %d failed, while %d members were killed", done, settled, lost, unknown, failed, memberKills)
	if done < 50 || settled+unknown == 0 {
		t.Error("void: no Commit lost its answer")
	}
}

// history are the revisions at which each value of a key was written.
func history(t *testing.T, cli *clientv3.Client, key string) map[string][]int64 {
	t.Helper()
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	now, err := cli.Get(ctx, key)
	if err != nil || len(now.Kvs) == 0 {
		t.Fatalf("void: %s: %v, %v", key, now, err)
	}
	all := make(map[string][]int64)
	for resp := range cli.Watch(ctx, key, clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			all[string(ev.Kv.Value)] = append(all[string(ev.Kv.Value)], ev.Kv.ModRevision)
			if ev.Kv.ModRevision >= now.Kvs[0].ModRevision {
				return all
			}
		}
	}
	t.Fatal("the history ends early")
	return nil
}

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// gated returns a client behind a gate.
func gated(t *testing.T, cli *clientv3.Client) (*etcdtest.Gate, *clientv3.Client) {
	t.Helper()
	gate := etcdtest.NewGate(t, cli.Endpoints()[0])
	through, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { through.Close() })
	return gate, through
}

// The answer to the transaction that brings the entry into the queue is lost.
func TestAnAnswerThatGetsLostLeavesNoOrphan(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, wait := range []bool{true, false} {
		t.Run(fmt.Sprintf("the caller waits on %t", wait), func(t *testing.T) {
			gate, through := gated(t, cli)
			name := fmt.Sprintf("%s%t", prefix, wait)
			m := mutex(t, through, name)
			release(t, acquire(t, m)) // it has a lease now
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			gate.DropAnswers()
			type result struct {
				h   *lock.Hold
				err error
			}
			got := make(chan result, 1)
			go func() { // waited for below
				h, err := m.Acquire(ctx)
				got <- result{h, err}
			}()
			for count(t, cli, name+"/") == 0 { // the entry is there, and no answer has said so
			}
			if !wait {
				cancel()
			}
			gate.SetTarget(cli.Endpoints()[0])
			r := <-got
			if wait {
				if r.err != nil {
					t.Fatalf("got %v, want the lock", r.err)
				}
				release(t, r.h)
			} else if !errors.Is(r.err, context.Canceled) {
				t.Errorf("got %v, want the cancellation", r.err)
			}
			for ctx := bounded(t); count(t, cli, name+"/") != 0; {
				if ctx.Err() != nil {
					t.Fatal("an orphan stays in the queue")
				}
			}
		})
	}
}

// The answer to a Commit is lost: it happened, or it did not and the lock is lost.
func TestACommitWithoutAnAnswerIsSettled(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	type result struct {
		resp *clientv3.TxnResponse
		err  error
	}
	commit := func(t *testing.T, m *lock.Mutex, before func(), meanwhile func(*lock.Hold)) result {
		h := acquire(t, m)
		before()
		got := make(chan result, 1)
		go func() { // waited for below
			resp, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"written", "1"))
			got <- result{resp, err}
		}()
		meanwhile(h)
		return <-got
	}
	t.Run("nothing came to etcd, and the entry is deleted", func(t *testing.T) {
		gate, through := gated(t, cli)
		m := mutex(t, through, prefix+"lock")
		got := commit(t, m, func() { gate.SetTarget("") }, func(h *lock.Hold) {
			<-time.After(100 * time.Millisecond) // for a try or two
			if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
				t.Error(err)
			}
			gate.SetTarget(cli.Endpoints()[0])
		})
		if !errors.Is(got.err, lock.ErrLost) {
			t.Errorf("got %v, %v, want ErrLost", got.resp, got.err)
		}
		if n := count(t, cli, prefix+"written"); n != 0 {
			t.Error("it was written all the same")
		}
	})
	t.Run("the answer is lost", func(t *testing.T) {
		gate, through := gated(t, cli)
		m := mutex(t, through, prefix+"lock")
		got := commit(t, m, func() { gate.DropAnswers() }, func(*lock.Hold) {
			for count(t, cli, prefix+"written") == 0 {
			}
			gate.SetTarget(cli.Endpoints()[0])
		})
		is, err := cli.Get(bounded(t), prefix+"written")
		if err != nil {
			t.Fatal(err)
		}
		if kv := is.Kvs[0]; got.err != nil || got.resp.Header.Revision != kv.ModRevision || kv.Version != 1 {
			t.Errorf("got %v, %v, want success, once, at revision %d", got.resp, got.err, kv.ModRevision)
		}
	})
}

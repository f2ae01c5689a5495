package lock_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// The lease of the mark is gone when the transaction arrives, though this process's clock says otherwise.
func TestAMarkWhoseLeaseWasRevokedIsNotMissed(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	own, granted := granting(t, cli)
	m := mutex(t, own, prefix+"job")
	run := every(t, m, time.Hour, func(ctx context.Context, _ *lock.Hold) error {
		_, err := cli.Revoke(ctx, granted())
		return err
	})
	if !run.Here || run.DueIn != 0 {
		t.Errorf("got %+v, want a run here, and the next one due now", run)
	}
	release(t, acquire(t, m))
}

func TestACommitWithinARunWritesTheMark(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	run := every(t, m, time.Hour, func(ctx context.Context, h *lock.Hold) error {
		resp, err := h.Commit(ctx, clientv3.OpPut(prefix+"result", "1"), clientv3.OpGet(prefix+"result"))
		if err == nil && string(resp.Responses[1].GetResponseRange().Kvs[0].Value) != "1" {
			t.Errorf("the answers: %v", resp.Responses)
		}
		return err
	})
	if !run.Here || run.DueIn == 0 {
		t.Errorf("got %+v", run)
	}
	resp, err := cli.Txn(bounded(t)).Then(clientv3.OpGet(prefix+"job.every"), clientv3.OpGet(prefix+"result")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	mark, result := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if len(mark) != 1 || len(result) != 1 || mark[0].ModRevision != result[0].ModRevision {
		t.Errorf("mark %v and result %v: want one transaction", mark, result)
	}
}

func TestARunThatReleasesItsHoldLeavesNoMark(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	run := every(t, m, time.Hour, func(ctx context.Context, h *lock.Hold) error { return h.Release(ctx) })
	if !run.Here || run.DueIn != 0 {
		t.Errorf("got %+v, want a run here, and the next one due now", run)
	}
	ranHere(t, m, time.Hour)
}

func TestAMarkIsReadableAndNoEntryOfTheLock(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"job")
	ran := ranHere(t, m, time.Hour)
	resp, err := cli.Get(bounded(t), prefix+"job.every")
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("the mark: %v, %v", resp, err)
	}
	var says struct {
		Token                          int64
		Host, Command, Started, Period string
		PID                            int
	}
	if err := json.Unmarshal(resp.Kvs[0].Value, &says); err != nil {
		t.Fatal(err)
	}
	if says.Token != ran.Token || says.Host != ran.Host || says.PID != ran.PID || says.Command != ran.Command || says.Period != "1h0m0s" || says.Started != ran.Started.UTC().Format(time.RFC3339) {
		t.Errorf("the mark says %+v, the run was %+v", says, ran)
	}
	if names := locksBelow(t, cli, prefix, nil); len(names) != 0 {
		t.Errorf("it looks like the locks %q", names)
	}
	h, err := m.TryAcquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	release(t, h)
}

func TestAMarkThatWouldNeverEndIsReported(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"job.every")()
	_, err := mutex(t, cli, prefix+"job").Every(bounded(t), time.Hour, nothing)
	if err == nil {
		t.Fatal("want an error")
	}
	harmless(t, "the error", err.Error())
}

func TestWhatAMarkSaysIsPrintedSafely(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	l, err := cli.Grant(bounded(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range append([]string{`{"pid":7,"host":"a\u001b[2J","command":"x\ny","started":"no"}`, "", "{", "null"}, string(make([]byte, 100_000))) {
		if _, err := cli.Put(bounded(t), prefix+"job.every", value, clientv3.WithLease(l.ID)); err != nil {
			t.Fatal(err)
		}
		run := every(t, mutex(t, cli, prefix+"job"), time.Hour, nothing)
		if run.Here {
			t.Errorf("it ran in spite of the mark %.20q", value)
		}
		harmless(t, "a run", run.String())
	}
}

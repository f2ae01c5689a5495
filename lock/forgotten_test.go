package lock_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// A client remembers some thousands of deletions, for entries whose answer is under way. An entry that is older
// than those that it has forgotten looks for itself.
func TestADeletionThatWasForgottenIsNotMissed(t *testing.T) {
	const many = 4200 // more than a client remembers
	cli, prefix := etcdtest.New(t)
	other := another(t, cli)
	name := prefix + "sem"
	leave := stranger(t, other, name, 1)
	g, answers := gate(cli), rig(cli)
	s := semaphore(t, cli, name, 3)
	acquire := func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) }
	first := queued(t, other, name, 2, acquire) // its client hears all deletions
	for n := 0; n < many; {
		var puts []clientv3.Op
		for ; n < many && len(puts) < 120; n++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s/z-%d", name, n), ""))
		}
		if _, err := other.Txn(bounded(t)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	var tried atomic.Bool
	answered := make(chan struct{})
	answers.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		switch {
		case !ops[0].IsPut():
		case !tried.CompareAndSwap(false, true):
			<-answered // a second try is later than the first
		default:
			resp, err := commit()
			if _, err := other.Delete(bounded(t), name+"/z-", clientv3.WithPrefix()); err != nil {
				t.Error(err)
			}
			for ctx := bounded(t); g.heard(name+"/") < many && ctx.Err() == nil; {
				<-time.After(time.Millisecond)
			}
			close(answered)
			return resp, err
		}
		return commit()
	})
	second := queued(t, other, name, 3, acquire)
	<-answered
	leave()
	release(t, first.gets(t))
	select {
	case h := <-second.held:
		release(t, h)
	case err := <-second.err:
		t.Fatal(err)
	case <-time.After(8 * time.Second):
		t.Fatal("all that were ahead are gone, and it is not held")
	}
}

package registry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// transact returns the first answer to a transaction that may be carried out twice: each of ours
// compares revisions, so that the second one changes nothing and says what stands there. The client's
// connections take turns without regard to whether a member answers; so when there is no answer for
// hedgeAfter (longer for many keys), the transaction is sent again, to the next member, and again each
// time the wait has doubled: where all members are slow that must not add much to their work. An error
// that any member would give counts at once, another one when no try is under way any more.
//
// open tells that a try has no answer which says whether it was carried out: it can still be. The
// comparison of a first registration holds again once the key was withdrawn; see undoLate.
func (r *Registrar) transact(ctx context.Context, keys int, txn clientv3.Op) (resp *clientv3.TxnResponse, open bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		resp clientv3.OpResponse
		err  error
	}
	const most = 5
	answers := make(chan answer, most) // a late one does not wait
	send := func() {                   // ends with ctx
		resp, err := r.cli.Do(ctx, txn)
		answers <- answer{resp, err}
	}
	go send()
	wait := hedgeAfter + time.Duration(keys)*hedgePerKey
	again := time.NewTimer(wait)
	defer again.Stop()
	for sent, pending := 1, 1; ; {
		select {
		case a := <-answers:
			pending--
			class := ask.ClassOf(a.err)
			if class == ask.Done {
				return a.resp.Txn(), open || pending > 0, nil
			}
			open = open || class == ask.Ambiguous
			if pending == 0 || class == ask.Final || errors.Is(a.err, rpctypes.ErrNoSpace) {
				return nil, open || pending > 0, a.err
			}
		case <-again.C:
			if sent < most {
				sent, pending = sent+1, pending+1
				go send()
				again.Reset(wait)
				wait *= 2
			}
		}
	}
}

package keys_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

func TestAnImportFailsWhenALeaseEndsInAnOutage(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, cli.Endpoints()[0])
	gated, err := client.Dial(within(t, generous), &client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer gated.Close()
	file := fmt.Sprintf(`{"key":"%sleased","value":"1","lease":"7b","lease_ttl_seconds":2}`+"\n", prefix)
	for i := range 300 {
		file += fmt.Sprintf(`{"key":"%s%d","value":"1"}`+"\n", prefix, i)
	}
	gone := cli.Watch(within(t, generous), prefix+"leased", clientv3.WithFilterPut())
	frozen := false
	counts, err := keys.Import(within(t, generous), gated, strings.NewReader(file), &keys.ImportOptions{Progress: func(p keys.Progress) {
		if p.Created > 0 && !frozen {
			frozen = true
			gate.Freeze()
			if r, ok := <-gone; !ok || r.Err() != nil {
				t.Errorf("the watch: %v", r.Err())
			}
			gate.Unfreeze()
		}
	}})
	if !errors.Is(err, keys.ErrLeaseEnded) || counts.Created != 301 {
		t.Fatalf("got %+v, %v, want ErrLeaseEnded after 301 keys", counts, err)
	}
	if counts := importText(t, cli, file, nil); counts.Created != 1 || counts.Same != 300 {
		t.Errorf("again: got %+v, want the key that is missing", counts)
	}
}

func TestACopyFailsWhenALeaseIsRevoked(t *testing.T) {
	src, prefix := etcdtest.New(t)
	dst := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	lease := grant(t, src, 600)
	for i := range 300 {
		put(t, src, fmt.Sprintf("%s%03d", prefix, i), "1", clientv3.WithLease(lease))
	}
	for _, when := range []int64{128, 300} { // in between, and behind the last key
		delAll(t, dst, "copy/")
		revoked := false
		_, err := keys.Copy(within(t, generous), src, prefix, dst, "copy/", &keys.CopyOptions{Progress: func(p keys.Progress) {
			if p.Created < when || revoked {
				return
			}
			revoked = true
			resp, err := dst.Get(within(t, generous), "copy/000")
			if err == nil {
				_, err = dst.Revoke(within(t, generous), clientv3.LeaseID(resp.Kvs[0].Lease))
			}
			if err != nil {
				t.Error(err)
			}
		}})
		if !errors.Is(err, keys.ErrLeaseEnded) || !strings.Contains(err.Error(), "again") {
			t.Errorf("revoked after %d keys: got %v, want ErrLeaseEnded, and what to do", when, err)
		}
		if again, err := keys.Copy(within(t, generous), src, prefix, dst, "copy/", nil); err != nil || again.Created != when {
			t.Errorf("again: got %+v, %v, want %d created", again, err, when)
		}
		wantHeld(t, "the copy", held(t, dst, "copy/"), held(t, src, prefix))
	}
}

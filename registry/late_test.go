package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// A silent member keeps the first try of registering, another one carries the second out, and after Close
// the first one goes on.
func TestATryThatIsCarriedOutAfterCloseIsUndone(t *testing.T) {
	t.Parallel()
	for name, alone := range map[string]bool{"Registrar.Close, on a shared Keeper": true, "Registration.Close": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, prefix := etcdtest.New(t)
			cli, all := tried(t, server)
			opts := &registry.Options{Prefix: prefix}
			if alone {
				opts.Keeper = lease.NewKeeper(cli, nil)
				defer opts.Keeper.Close()
			}
			r, err := registry.New(cli, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			kept := make(chan *pb.TxnRequest, 1)
			all.is(func(ctx context.Context, n int, req *pb.TxnRequest, do func() error) error {
				if n == 1 {
					kept <- req
					return keptBack(ctx)
				}
				return do()
			})
			regs, err := r.Register(bounded(t), web("a"), web("b"))
			if err != nil {
				t.Fatal(err)
			}
			on := regs[0].State().Lease
			for _, reg := range regs {
				if !alone {
					err = errors.Join(err, reg.Close())
				}
			}
			if alone {
				err = r.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			late, err := pb.NewKVClient(server.ActiveConnection()).Txn(bounded(t), <-kept)
			if err != nil || !late.Succeeded {
				t.Fatalf("void: %v, %v, want the try carried out", late, err)
			}
			wantGone(t, server, prefix+"web/a")
			wantGone(t, server, prefix+"web/b")

			// One that is registered again on the same lease stays.
			if alone {
				if r, err = registry.New(cli, opts); err != nil {
					t.Fatal(err)
				}
				defer r.Close()
			}
			all.is(nil)
			if regs, err = r.Register(bounded(t), web("a")); err != nil {
				t.Fatal(err)
			}
			if regs[0].State().Lease != on {
				t.Errorf("void: on lease %x, want %x", regs[0].State().Lease, on)
			}
			if _, err := server.Put(bounded(t), prefix+"web/b", "late", clientv3.WithLease(on)); err != nil {
				t.Fatal(err)
			}
			wantGone(t, server, prefix+"web/b") // so that a was looked at
			if kv := get(t, server, prefix+"web/a").Kvs; len(kv) != 1 || kv[0].ModRevision != regs[0].State().Revision || regs[0].State().Losses != 0 {
				t.Errorf("registered again: %v, %+v, want it left alone", kv, regs[0].State())
			}
		})
	}
}

// wantGone fails unless a key goes within what a few requests take, on a machine that does much else.
func wantGone(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	most := 5 * time.Second
	if means.Race {
		most = within
	}
	for limit := time.After(most); len(get(t, cli, key).Kvs) != 0; {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-limit:
			t.Fatalf("%s stays, though it was withdrawn", key)
		}
	}
}

// No try has an answer, and its caller does not wait; when the key is withdrawn there is none.
func TestATryThatIsCarriedOutAfterRegisterWasGivenUpIsUndone(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	kept, withdrawn := make(chan *pb.TxnRequest, 1), make(chan error, 1)
	all.is(func(_ context.Context, n int, req *pb.TxnRequest, do func() error) error {
		if len(req.Success) > 0 && req.Success[0].GetRequestPut() != nil {
			if n == 1 {
				kept <- req
				cancel()
			}
			return status.Error(codes.Unavailable, "the connection broke")
		}
		err := do()
		select {
		case withdrawn <- err:
		default:
		}
		return err
	})
	if _, err := r.Register(ctx, web("a")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's end", err)
	}
	if err := <-withdrawn; err != nil {
		t.Fatal(err)
	}
	late, err := pb.NewKVClient(server.ActiveConnection()).Txn(bounded(t), <-kept)
	if err != nil || !late.Succeeded {
		t.Fatalf("void: %v, %v, want the try carried out", late, err)
	}
	wantGone(t, server, prefix+"web/a")
}

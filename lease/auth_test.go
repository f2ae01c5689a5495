package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
)

// withUsers starts a member with authentication.
func withUsers(t *testing.T) (root *clientv3.Client, endpoints []string) {
	t.Helper()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	addUsers(t, c)
	root = new(tap).client(t, clientv3.Config{Endpoints: c.Endpoints(), Username: "root", Password: "secret"})
	return root, c.Endpoints()
}

// addUsers turns authentication on: root, and amy who may write below "amy/".
func addUsers(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	cli := etcdtest.Client(t, c)
	ctx := t.Context()
	_, e1 := cli.RoleAdd(ctx, "root")
	_, e2 := cli.UserAdd(ctx, "root", "secret")
	_, e3 := cli.UserGrantRole(ctx, "root", "root")
	_, e4 := cli.RoleAdd(ctx, "writer")
	_, e5 := cli.RoleGrantPermission(ctx, "writer", "amy/", "amy0", clientv3.PermissionType(clientv3.PermReadWrite))
	_, e6 := cli.UserAdd(ctx, "amy", "secret")
	_, e7 := cli.UserGrantRole(ctx, "amy", "writer")
	_, e8 := cli.AuthEnable(ctx)
	if err := errors.Join(e1, e2, e3, e4, e5, e6, e7, e8); err != nil {
		t.Fatal(err)
	}
}

func TestAUserThatIsRefusedLosesTheLeaseWithoutSpinning(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(context.Context, *clientv3.Client) error{
		"the user is deleted": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserDelete(ctx, "amy")
			return err
		},
		"the password is another": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserChangePassword(ctx, "amy", "changed")
			return err
		},
		"the role is revoked, and a key on the lease is another's": func(ctx context.Context, root *clientv3.Client) error {
			_, err := root.UserRevokeRole(ctx, "amy", "writer")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, endpoints := withUsers(t)
			var tp tap
			cli := tp.client(t, clientv3.Config{Endpoints: endpoints, Username: "amy", Password: "secret"})
			k := newKeeper(t, cli, nil) // a password check takes long on a machine that does much else
			l := live(t, k)
			if _, err := cli.Put(t.Context(), "amy/key", "", clientv3.WithLease(l.ID())); err != nil {
				t.Fatal(err)
			}
			if err := l.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			sent := tp.keepAlives.Load()
			if err := refuse(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			if err := l.Confirm(t.Context()); !errors.Is(err, lease.ErrUnauthorised) {
				t.Errorf("Confirm: %v, want ErrUnauthorised", err)
			}
			wantDone(t, l)
			t.Log(l.Err())
			wantEnd(t, l, lease.ErrUnauthorised)
			<-time.After(3500 * time.Millisecond) // in which a keepalive would follow
			if tries := tp.keepAlives.Load() - sent; tries > 4 {
				t.Errorf("%d keepalives of a refused user, want a few", tries)
			}
		})
	}
}

func TestAnUnknownUserGetsNoLease(t *testing.T) {
	_, endpoints := withUsers(t)
	for name, cfg := range map[string]clientv3.Config{
		"no user":       {Endpoints: endpoints},
		"a wrong token": {Endpoints: endpoints, Token: "nonsense"},
	} {
		var tp tap
		k := newKeeper(t, tp.client(t, cfg), nil)
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		l, err := k.Lease(ctx)
		if !errors.Is(err, lease.ErrUnauthorised) || l != nil {
			t.Errorf("Lease with %s: got %v, %v, want nil and ErrUnauthorised", name, l, err)
		}
		t.Log(err)
	}
}

func TestATokenThatMembersForgotIsNoLoss(t *testing.T) {
	root, endpoints := withUsers(t)
	cli := new(tap).client(t, clientv3.Config{Endpoints: endpoints, Username: "amy", Password: "secret"})
	l := live(t, newKeeper(t, cli, nil))
	if err := l.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Setting the password again, to the same, makes the open stream's token invalid.
	if _, err := root.UserChangePassword(t.Context(), "amy", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := l.Confirm(t.Context()); err != nil {
		t.Errorf("Confirm after the token became invalid: %v", err)
	}
}

package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// enableAuth makes root, with the password "secret", the only user.
func enableAuth(t *testing.T, opts *client.Options) {
	t.Helper()
	cli, err := client.Dial(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	_, e1 := cli.RoleAdd(ctx, "root")
	_, e2 := cli.UserAdd(ctx, "root", "secret")
	_, e3 := cli.UserGrantRole(ctx, "root", "root")
	_, e4 := cli.AuthEnable(ctx)
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		t.Fatal(err)
	}
}

func TestTheUserIsAuthenticated(t *testing.T) {
	endpoints := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true}).Endpoints()
	wantDial(t, &client.Options{Endpoints: endpoints, User: "amy:secret"}) // authentication is off
	enableAuth(t, &client.Options{Endpoints: endpoints})

	for _, test := range []struct {
		name string
		opts client.Options
		env  env
	}{
		{"name and password", client.Options{User: "root", Password: "secret"}, nil},
		{"name:password", client.Options{User: "root:secret"}, nil},
		{"a password goes before that of name:password", client.Options{User: "root:wrong", Password: "secret"}, nil},
		{"name:password before a variable", client.Options{User: "root:secret"}, env{"ETCDKIT_PASSWORD": "wrong"}},
		{"a variable's password", client.Options{User: "root"}, env{"ETCDKIT_PASSWORD": "secret"}},
		{"our variable", client.Options{}, env{"ETCDKIT_USER": "root:secret", "ETCDCTL_USER": "bob:wrong"}},
		{"etcdctl's variables", client.Options{}, env{"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "secret"}},
		{"a password of etcdkit's before one of etcdctl's", client.Options{}, env{"ETCDCTL_USER": "root:wrong", "ETCDKIT_PASSWORD": "secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.env.set(t)
			test.opts.Endpoints = endpoints
			wantDial(t, &test.opts)
		})
	}

	// The silent endpoint shows that Dial does not wait for it.
	endpoints = append(endpoints, newSilentServer(t).addr)
	wantDialError(t, client.Options{Endpoints: endpoints}, client.ErrAuth,
		endpoints[0]+": authentication is on and no user is set", "ETCDKIT_USER=name:password")
	err := wantDialError(t, client.Options{Endpoints: endpoints, User: "root:secret2"}, client.ErrAuth,
		endpoints[0]+`: wrong name or password for user "root"`)
	if !errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Dial with a wrong password: got error %v, want one that is rpctypes.ErrAuthFailed and not ErrUnreachable", err)
	}
	t.Setenv("ETCDCTL_USER", "bob:secret")
	wantDialError(t, client.Options{Endpoints: endpoints}, client.ErrAuth, `"bob" (from ETCDCTL_USER)`)
}

func TestTheNameInAClientCertificateIsAUser(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server", nil)
	endpoint := secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.file})
	rootCert, rootKey := ca.issue("root", nil)
	opts := &client.Options{Endpoints: []string{endpoint}, CACert: ca.file, Cert: rootCert, Key: rootKey}
	enableAuth(t, opts)
	wantDial(t, opts)
}

func TestAMemberWithoutAQuorumDoesNotBlockAUser(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	enableAuth(t, &client.Options{Endpoints: c.Endpoints()})
	alone := c.Names()[0]
	if _, err := c.Isolate(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: c.Endpoints(), User: "root:secret", Timeout: generous})
	if err != nil {
		t.Fatalf("Dial with one of %q without a quorum: %v", c.Endpoints(), err)
	}
	cli.Close()

	endpoint, err := c.Endpoint(alone)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Dial(t.Context(), &client.Options{Endpoints: []string{endpoint}, User: "root:secret", Timeout: time.Second})
	wantError(t, err, client.ErrUnreachable, endpoint+": answered, but could not authenticate the user")
}

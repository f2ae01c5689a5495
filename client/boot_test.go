package client_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAProgramStartsWhileEtcdIsAwayAndWaitsForIt(t *testing.T) {
	direct, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, "")
	began := time.Now()
	cli, err := client.New(&client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	if took := time.Since(began); took > time.Second {
		t.Errorf("New took %v: it asks a member", took)
	}
	err = client.Wait(within(t, time.Second), cli)
	if !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), gate.Addr()) {
		t.Errorf("Wait while etcd is away: got %v, want ErrUnreachable that names the endpoint", err)
	}
	t.Log(err)
	waited := make(chan error, 1)
	go func() { waited <- client.Wait(within(t, generous), cli) }()
	select {
	case err := <-waited:
		t.Fatalf("Wait gave up: %v", err)
	case <-time.After(2 * time.Second): // more than Dial has for endpoints that refuse
	}
	gate.SetTarget(direct.Endpoints()[0])
	back := time.Now()
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	t.Logf("Wait returned %v after etcd was there", time.Since(back))
	if _, err := cli.Put(within(t, generous), prefix+"k", "v"); err != nil {
		t.Fatal(err)
	}
}

func TestAClosedClientEndsTheWait(t *testing.T) {
	cli, err := client.New(&client.Options{Endpoints: []string{etcdtest.Addr(t)}})
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- client.Wait(context.Background(), cli) }()
	<-time.After(300 * time.Millisecond)
	cli.Close()
	select {
	case err := <-waited:
		if !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "client was closed") {
			t.Errorf("got %v, want ErrUnreachable that says that the client was closed", err)
		}
	case <-time.After(generous):
		t.Fatal("it waits for ever")
	}
}

func TestAUserIsPresentedOnceEtcdIsThere(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	root := etcdtest.EnableAuth(t, c)
	etcdtest.User(t, c, root, "amy", "amy/")
	gate := etcdtest.NewGate(t, "")
	for user, want := range map[string]error{"amy:" + etcdtest.Password: nil, "amy:wrong": client.ErrAuth, "": client.ErrAuth} {
		gate.SetTarget("")
		cli, err := client.New(&client.Options{Endpoints: []string{gate.Addr()}, User: user})
		if err != nil {
			t.Fatalf("New of user %q while etcd is away: %v", user, err)
		}
		t.Cleanup(func() { cli.Close() })
		gate.SetTarget(c.Endpoints()[0])
		if err := client.Wait(within(t, generous), cli); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("Wait of user %q: got %v, want %v", user, err, want)
		}
		if want == nil {
			if _, err := cli.Put(within(t, generous), "amy/k", "v"); err != nil {
				t.Errorf("Put of user %q: %v", user, err)
			}
		}
	}
}

func TestTLSIsUsedByAProgramThatDoesNotAsk(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	server, me := ca.Issue("server", time.Hour), ca.Issue("me", time.Hour)
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	cli, err := client.New(&client.Options{Endpoints: c.Endpoints(), CACert: ca.File, Cert: me, Key: me})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	if err := client.Wait(within(t, generous), cli); err != nil {
		t.Fatal(err)
	}
}

func TestNewFindsAWrongSetting(t *testing.T) {
	for _, opts := range []*client.Options{{Endpoints: []string{"nowhere"}}, {Endpoints: []string{"https://a:1"}, CACert: "/none"}} {
		if _, err := client.New(opts); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", opts, err)
		}
	}
}

func TestAStaleVariableIsNamedAsTheCause(t *testing.T) {
	for _, variable := range []string{"ETCDKIT_ENDPOINTS", "ETCDCTL_ENDPOINTS"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, etcdtest.Addr(t))
			_, err := client.Dial(t.Context(), nil)
			if !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("got %v, want ErrUnreachable, as it refuses", err)
			}
			if !strings.Contains(err.Error(), variable) || !strings.Contains(err.Error(), "unset it") || strings.Contains(err.Error(), "try: etcdkit dev") {
				t.Errorf("got %q, want the variable named, and what to do about it", err)
			}
			t.Log(err)
		})
	}
}

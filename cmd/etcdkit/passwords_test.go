package main

import (
	"errors"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// withPasswords puts jobs/1 into a cluster, and gives it a user, root with the password secret, and no others.
func withPasswords(t *testing.T, cli *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	_, e1 := cli.Put(ctx, "jobs/1", "nightly")
	_, e2 := cli.UserAdd(ctx, "root", "secret")
	_, e3 := cli.RoleAdd(ctx, "root")
	_, e4 := cli.UserGrantRole(ctx, "root", "root")
	_, e5 := cli.AuthEnable(ctx)
	if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

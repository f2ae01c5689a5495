package etcdtest

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
)

// Password is that of every user that EnableAuth and User make.
const Password = "secret"

// EnableAuth turns authentication on and returns a client of root, closed when the test ends.
func EnableAuth(tb testing.TB, c *cluster.Cluster) (root *clientv3.Client) {
	tb.Helper()
	cli := Client(tb, c)
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	steps(tb,
		func() error { _, err := cli.UserAdd(ctx, "root", Password); return err },
		func() error { _, err := cli.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := cli.AuthEnable(ctx); return err },
	)
	return as(tb, c, "root")
}

// User adds a user and a role of the same name, which permits reading and writing below prefix (nothing if
// that is ""). It returns a client of the user, closed when the test ends.
func User(tb testing.TB, c *cluster.Cluster, root *clientv3.Client, name, prefix string, opts ...grpc.DialOption) *clientv3.Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	steps(tb,
		func() error { _, err := root.UserAdd(ctx, name, Password); return err },
		func() error { _, err := root.RoleAdd(ctx, name); return err },
		func() error { _, err := root.UserGrantRole(ctx, name, name); return err },
		func() error {
			if prefix == "" {
				return nil
			}
			_, err := root.RoleGrantPermission(ctx, name, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
	)
	return as(tb, c, name, opts...)
}

func as(tb testing.TB, c *cluster.Cluster, user string, opts ...grpc.DialOption) *clientv3.Client {
	tb.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Username: user, Password: Password, DialOptions: opts, Logger: zap.NewNop()})
	if err != nil {
		tb.Fatalf("etcdtest: client of user %s: %v", user, err)
	}
	tb.Cleanup(func() { cli.Close() })
	return cli
}

func steps(tb testing.TB, steps ...func() error) {
	tb.Helper()
	for i, step := range steps {
		if err := step(); err != nil {
			tb.Fatalf("etcdtest: set up users, step %d: %v", i+1, err)
		}
	}
}

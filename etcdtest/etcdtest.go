// Package etcdtest gives a test a real etcd, in one line:
//
//	func TestGreeting(t *testing.T) {
//		cli, prefix := etcdtest.New(t)
//		_, err := cli.Put(t.Context(), prefix+"greeting", "hello")
//		…
//	}
//
// All tests of a binary share one server, a member in the test process with temporary data;
// each test has a client and a key prefix of its own, and what it wrote below the prefix is
// deleted when it ends. NewCluster starts members as processes, for tests that kill, pause or
// partition them.
//
// A package that calls NewCluster, or checks for leaked goroutines, needs a TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(etcdtest.Main(m).Run()) }
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }
//
// Without it the shared server lives as long as the test binary. Its directory is removed
// either way, also when the binary panics, times out or is killed (where there is a shell).
package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
)

const (
	// startTimeout bounds the start of a cluster, on a busy machine.
	startTimeout = time.Minute
	// tidyTimeout bounds what a test's end deletes.
	tidyTimeout = 10 * time.Second
	// bcryptCost is bcrypt's lowest cost. etcd checks a user's password for each new stream. At etcd's default
	// cost and under the race detector, one check takes longer than a short lease lasts.
	bcryptCost = 4
)

// shared is the one server of this test binary. Tests have no common owner that could hold it.
var (
	shared  = sync.OnceValues(startShared)
	started atomic.Bool
	tests   atomic.Int64
)

func startShared() (*cluster.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true, BcryptCost: bcryptCost})
	started.Store(err == nil)
	return c, err
}

// M is a testing.M whose Run also ends the shared server.
type M struct{ m *testing.M }

// Main is for TestMain. In a process that was started as a member of a NewCluster it does not return.
func Main(m *testing.M) *M {
	cluster.RunMember()
	return &M{m}
}

// Run runs the tests and then closes the shared server. It returns the exit code.
func (m *M) Run() int {
	code := m.m.Run()
	if started.Load() {
		c, _ := shared()
		if err := c.Close(); err != nil {
			fmt.Println("etcdtest: close the shared server:", err)
			return max(code, 1)
		}
	}
	return code
}

// New returns a client of the shared server, which it starts if need be, and a key prefix,
// ending in "/", that no other test has. Both are cleaned up when the test ends.
func New(tb testing.TB) (cli *clientv3.Client, prefix string) {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatalf("etcdtest: start the shared server: %v", err)
	}
	cli = Client(tb, c)
	prefix = fmt.Sprintf("%s/%d/", strings.ReplaceAll(tb.Name(), "/", "."), tests.Add(1))
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
		defer cancel()
		if _, err := cli.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
			tb.Errorf("etcdtest: delete %q: %v", prefix, err)
		}
	})
	return cli, prefix
}

// NewCluster starts a cluster for this test alone, and closes it when the test ends. Its ports are
// always free ones. opts can change the rest: three members, each a process, with temporary data, whose
// warnings go to the test's log (not to a benchmark's).
func NewCluster(tb testing.TB, opts *cluster.Options) *cluster.Cluster {
	tb.Helper()
	var o cluster.Options
	if opts != nil {
		o = *opts
	}
	o.AnyPort = true
	if o.BcryptCost == 0 {
		o.BcryptCost = bcryptCost
	}
	if o.Logger == nil {
		logger, end := newTestLog(tb)
		tb.Cleanup(end) // after Close
		o.Logger = logger
	}
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	c, err := cluster.Start(ctx, &o)
	if errors.Is(err, cluster.ErrNoRunMember) {
		tb.Fatal("etcdtest: the members of NewCluster are this test binary, executed again; its package needs\n\n\tfunc TestMain(m *testing.M) { os.Exit(etcdtest.Main(m).Run()) }")
	}
	if err != nil {
		tb.Fatalf("etcdtest: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("etcdtest: close the cluster: %v", err)
		}
	})
	return c
}

// Client returns a client of all the cluster's endpoints, closed when the test ends. A cluster
// with ClientTLS needs one that knows its certificates.
func Client(tb testing.TB, c *cluster.Cluster) *clientv3.Client {
	tb.Helper()
	if strings.HasPrefix(c.Endpoints()[0], "https://") {
		tb.Fatalf("etcdtest: the cluster at %v has TLS: make the client with client.Dial", c.Endpoints())
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		tb.Fatalf("etcdtest: client of %v: %v", c.Endpoints(), err)
	}
	tb.Cleanup(func() { cli.Close() })
	return cli
}

package cluster_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// A port of the system's choice could be any process's next source port while its member is down.
func TestThePortOfAMemberThatIsDownStaysItsOwn(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		c := etcdtest.NewCluster(t, &cluster.Options{Direct: direct})
		down, err := c.Endpoint("etcd1")
		if err != nil {
			t.Fatal(err)
		}
		up, err := c.Endpoint("etcd2")
		if err != nil {
			t.Fatal(err)
		}
		did(t)(c.Kill(t.Context(), "etcd1"))
		port, err := net.ResolveTCPAddr("tcp4", down)
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := (&net.Dialer{LocalAddr: port}).Dial("tcp4", up); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a connection from %s: %v, %v, want EADDRINUSE", down, conn, err)
		}
		if conn, err := net.Dial("tcp4", down); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a connection to %s: %v, %v, want ECONNREFUSED", down, conn, err)
		}
		did(t)(c.Start(t.Context(), "etcd1"))
		put(t, at(t, c, "etcd1"), "k", "v")
	}
}

package cluster_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestAnIsolatedLeaderIsDeposedWhileItsClientsStillReachIt(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	old := c.Leader()
	cli := at(t, c, old)
	put(t, cli, "k", "old")
	ch := did(t)(c.Isolate(t.Context(), "leader"))
	if ch.Quorum.Leader == old || ch.Quorum.Up != 2 {
		t.Errorf("got %+v, want another leader of two", ch)
	}
	put(t, at(t, c, ch.Quorum.Leader), "k", "new")
	stale, err := cli.Get(t.Context(), "k", clientv3.WithSerializable())
	if err != nil || string(stale.Kvs[0].Value) != "old" {
		t.Errorf("serializable read at %s: got %v, %v, want the old value", old, stale, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if resp, err := cli.Get(ctx, "k"); err == nil {
		t.Errorf("linearizable read at the isolated %s: got %v, want an error", old, resp)
	}
	if got := member(t, c, old).CutFrom; len(got) != 2 {
		t.Errorf("status: %s cut from %v, want the two others", old, got)
	}
	did(t)(c.Heal(t.Context()))
	resp, err := cli.Get(t.Context(), "k")
	if err != nil || string(resp.Kvs[0].Value) != "new" {
		t.Errorf("after heal: got %v, %v, want the new value", resp, err)
	}
}

func TestAPartitionDividesByGroupsAndTheLastOneCounts(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	ch := did(t)(c.Partition(t.Context(), []string{"etcd1"}, []string{"etcd2", "etcd3"}))
	if ch.Did != "partitioned etcd1 | etcd2,etcd3" || ch.Quorum.Up != 2 || ch.Quorum.Leader == "etcd1" {
		t.Errorf("got %+v", ch)
	}
	ch = did(t)(c.Partition(t.Context(), []string{"etcd3"}))
	if ch.Did != "partitioned etcd1,etcd2 | etcd3" || ch.Quorum.Leader == "etcd3" || ch.Quorum.Leader == "" {
		t.Errorf("got %+v", ch)
	}
	put(t, at(t, c, "etcd1"), "k", "v")
	for _, groups := range [][][]string{nil, {{"etcd1", "etcd2", "etcd3"}}, {{"etcd1"}, {"etcd1"}}} {
		if _, err := c.Partition(t.Context(), groups...); !errors.Is(err, cluster.ErrInvalid) {
			t.Errorf("partition %v: got %v, want ErrInvalid", groups, err)
		}
	}
}

// The lease of a client of a follower is renewed through the leader's peer port by a request
// that does not say which member sends it: a partition that judged connections by their headers would
// let it through.
func TestAPartitionAlsoCutsLeaseRenewalsBetweenMembers(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	leader := c.Leader()
	follower := "etcd1"
	if leader == follower {
		follower = "etcd2"
	}
	cli := at(t, c, follower)
	lease, err := cli.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.KeepAliveOnce(t.Context(), lease.ID); err != nil {
		t.Fatalf("renewal through a follower before the partition: %v", err)
	}
	did(t)(c.Isolate(t.Context(), follower))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if resp, err := cli.KeepAliveOnce(ctx, lease.ID); err == nil {
		t.Errorf("renewal through the isolated %s: got %v, want an error", follower, resp)
	}
}

func TestABlackholedMemberIsSilentAndLosesNothingWhenHealed(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	did(t)(c.Blackhole(t.Context(), "etcd2"))
	conn, err := net.Dial("tcp", member(t, c, "etcd2").Client)
	if err != nil {
		t.Fatalf("a blackholed port refuses connections: %v", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /version HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read from a blackholed member: %d bytes, %v; want silence", n, err)
	}
	did(t)(c.Heal(t.Context()))
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(got), `"etcdserver":"3.7`) {
		t.Errorf("after heal: got %q, %v, want the answer to what was asked before", got, err)
	}
}

func TestLatencyHoldsEveryByteEachWay(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := at(t, c, "etcd1")
	put(t, cli, "k", "v")
	const each = 100 * time.Millisecond
	did(t)(c.Latency(t.Context(), "etcd1", each))
	begin := time.Now()
	if _, err := cli.Get(t.Context(), "k", clientv3.WithSerializable()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*each {
		t.Errorf("a read took %v, want at least %v", took, 2*each)
	}
	if got := member(t, c, "etcd1").Latency; got != each {
		t.Errorf("status: latency %v, want %v", got, each)
	}
	if _, err := c.Latency(t.Context(), "etcd1", -1); !errors.Is(err, cluster.ErrInvalid) {
		t.Errorf("negative latency: got %v, want ErrInvalid", err)
	}
}

func TestAnElectionIsReportedWithItsOwnTime(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	ch := did(t)(c.Restart(t.Context(), "etcd1"))
	if !ch.Elected || ch.LeaderBefore != "etcd1" || ch.Took <= 0 || !strings.Contains(ch.String(), "leader etcd1 re-elected after") {
		t.Errorf("restart of the only member: got %+v (%[1]v), want it elected again", ch)
	}
	// Latency watches for elections for 2.5 s, which is not a time that one took.
	ch = did(t)(c.Latency(t.Context(), "etcd1", 300*time.Millisecond))
	if ch.Elected || ch.Took != 0 || !strings.Contains(ch.String(), "leader etcd1 stays") {
		t.Errorf("latency of the only member: got %+v (%[1]v), want that its leader stays", ch)
	}
}

func TestHealEndsLatencyOnOpenConnectionsToo(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := at(t, c, "etcd1")
	put(t, cli, "k", "v")
	did(t)(c.Latency(t.Context(), "etcd1", time.Minute))
	read := make(chan error, 1)
	go func() {
		_, err := cli.Get(t.Context(), "k", clientv3.WithSerializable())
		read <- err
	}()
	select {
	case err := <-read:
		t.Fatalf("a read was answered under a latency of a minute: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	did(t)(c.Heal(t.Context()))
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the read still waits after heal")
	}
}

func TestAnIsolatedMemberRestartsWithoutServingAndServesOnceHealed(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	did(t)(c.Isolate(t.Context(), "etcd1"))
	if ch := did(t)(c.Restart(t.Context(), "etcd1")); ch.Restored != 0 {
		t.Errorf("an isolated member served after %v", ch.Restored)
	}
	if got := member(t, c, "etcd1").Status; got != cluster.Starting {
		t.Errorf("it is %s, want starting", got)
	}
	if ch := did(t)(c.Heal(t.Context())); ch.Quorum.Up != 3 {
		t.Errorf("after heal: %+v, want 3 up", ch.Quorum)
	}
}

func TestMembersThatListenThemselvesCanDoAllButLoseTheirNetwork(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Direct: true})
	old := c.Leader()
	put(t, at(t, c, old), "k", "v")
	did(t)(c.Kill(t.Context(), old))
	endpoint, err := c.Endpoint(old)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", endpoint); err == nil {
		conn.Close()
		t.Errorf("%s listens on %s after it was killed", old, endpoint)
	}
	did(t)(c.Start(t.Context(), old))
	put(t, at(t, c, old), "k", "v")
	for _, fault := range []func() (*cluster.Change, error){
		func() (*cluster.Change, error) { return c.Isolate(t.Context(), "etcd1") },
		func() (*cluster.Change, error) { return c.Latency(t.Context(), "etcd1", time.Millisecond) },
		func() (*cluster.Change, error) { return c.Partition(t.Context(), []string{"etcd1"}) },
	} {
		if _, err := fault(); !errors.Is(err, cluster.ErrDirect) || !strings.Contains(err.Error(), "start the cluster without Direct") {
			t.Errorf("got %v, want ErrDirect and what to do", err)
		}
	}
}

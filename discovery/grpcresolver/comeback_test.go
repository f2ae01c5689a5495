package grpcresolver_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// up registers a server by its record.
func up(t testing.TB, cli *clientv3.Client, prefix string, s *server, id string, pid int) {
	t.Helper()
	record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, pid)
	if _, err := cli.Put(bounded(t), prefix+"web/"+id, record); err != nil {
		t.Fatal(err)
	}
}

// gRPC's back-off is a minute here. A new registration ends it.
func TestServersThatComeBackAreConnectedToAtOnce(t *testing.T) {
	slow := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Minute, Multiplier: 1, MaxDelay: time.Minute}, MinConnectTimeout: time.Second})
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			var servers []*server
			up := func(pid int) {
				lease, err := cli.Grant(bounded(t), 600)
				if err != nil {
					t.Fatal(err)
				}
				for n, s := range servers {
					pid := pid + n
					if n == 0 && policy == grpcresolver.Name {
						pid = 1 // registered again by the same process
					}
					record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, pid)
					if _, err := cli.Put(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n), record, clientv3.WithLease(lease.ID)); err != nil {
						t.Fatal(err)
					}
				}
				t.Cleanup(func() { _, _ = cli.Revoke(context.Background(), lease.ID) })
			}
			for range 3 {
				servers = append(servers, serve(t, ""))
			}
			up(1)
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy), slow)
			want := servers
			if policy == "pick_first" {
				want = nil // any one
			}
			untilSome(t, conn, want)
			v, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for n, s := range servers {
				s.grpc.Stop()
				if _, err := cli.Delete(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n)); err != nil {
					t.Fatal(err)
				}
			}
			for ctx := bounded(t); ; { // each has been tried, and its back-off has begun
				_, err := call(ctx, conn)
				if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "refused") && v.State().Expired == len(servers) {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("got %v, %d are kept; want that connections are refused", err, v.State().Expired)
				}
			}
			for n, s := range servers {
				servers[n] = serve(t, s.addr)
			}
			back := time.Now()
			up(11)
			if policy != "pick_first" {
				want = servers
			}
			untilSome(t, conn, want)
			took := time.Since(back)
			t.Logf("all are used %v after they are registered", took.Round(time.Millisecond))
			if took > 3*time.Second {
				t.Errorf("they are used %v after they are registered again, want at once", took)
			}
		})
	}
}

// untilSome waits until all of the servers answer, or if there are none, until any server does.
func untilSome(t testing.TB, conn *grpc.ClientConn, servers []*server) {
	t.Helper()
	if len(servers) > 0 {
		until(t, conn, servers...)
		return
	}
	for ctx := bounded(t); ; {
		_, err := call(ctx, conn)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// Registrations expire all at once and are there again, and the processes have lived all the time.
func TestANewRegistrationOfTheSameProcessKeepsItsConnection(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			servers := []*server{serve(t, ""), serve(t, "")}
			up := func() clientv3.LeaseID {
				lease, err := cli.Grant(bounded(t), 600)
				if err != nil {
					t.Fatal(err)
				}
				for n, s := range servers {
					record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, n+1)
					if _, err := cli.Put(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n), record, clientv3.WithLease(lease.ID)); err != nil {
						t.Fatal(err)
					}
				}
				return lease.ID
			}
			lease := up()
			want := servers
			if policy == "pick_first" {
				want = nil
			}
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy))
			untilSome(t, conn, want)
			accepted := func() (n int64) {
				for _, s := range servers {
					n += s.conns.Load()
				}
				return n
			}
			before := accepted()
			cc := newRecorder()
			watched := build(t, grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}}), cc)
			defer watched.Close()
			for range 3 {
				cc.untilList(t, "0/1//passing 1/1//passing")
				if _, err := cli.Revoke(bounded(t), lease); err != nil {
					t.Fatal(err)
				}
				cc.untilList(t, "0/1//expired 1/1//expired")
				lease = up()
			}
			cc.untilList(t, "0/1//passing 1/1//passing")
			for range 100 {
				if _, err := call(bounded(t), conn); err != nil {
					t.Error(err)
				}
			}
			if after := accepted(); after != before {
				t.Errorf("the servers have accepted %d connections, want the %d that there were", after, before)
			}
		})
	}
}

// All processes have been killed, and the last ones are kept for a while: that they refuse connections is
// not what is wrong.
func TestWhenExpiredInstancesAreDeadRPCsSayThatNoneIsRegistered(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	one, two := spawn(t, c, 2*time.Second), spawn(t, c, 2*time.Second)
	conn := dial(t, cli, discovery.Options{}, balanced(grpcresolver.Name))
	until(t, conn, &server{addr: one.addr}, &server{addr: two.addr})
	for _, p := range []*process{one, two} {
		p.signal(t, os.Kill)
	}
	for ctx := bounded(t); ; {
		_, err := call(ctx, conn)
		if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), `no instance of "web" is registered any more`) {
			t.Log(err)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("got %v, want that no instance is registered", err)
		}
	}
}

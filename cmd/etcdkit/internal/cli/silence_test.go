package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// requestOf has a silence hear a request that ends with err after a time.
func requestOf(ctx context.Context, s *silence, took time.Duration, err error) error {
	return s.unary(ctx, pb.KV_Range_FullMethodName, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		<-time.After(took)
		return err
	})
}

func newSilence(timeout time.Duration) *silence {
	return (&app{out: out.New(new(bytes.Buffer), new(bytes.Buffer))}).listenTo(&place.Flags{Timeout: timeout}, false)
}

func TestASlowRequestIsWaitedForWhileEtcdAnswers(t *testing.T) {
	t.Parallel()
	for _, paused := range []string{"", "follower"} {
		t.Run(cmp.Or(paused, "none")+" paused", func(t *testing.T) {
			t.Parallel()
			c := etcdtest.NewCluster(t, nil)
			cli := etcdtest.Client(t, c)
			if paused != "" {
				if _, err := c.Pause(t.Context(), paused); err != nil {
					t.Fatal(err)
				}
			}
			s := newSilence(2 * time.Second)
			err := s.during(t.Context(), cli, func() error { return requestOf(t.Context(), s, 3*s.bound, nil) }) // etcd is asked twice
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cli.Get(t.Context(), "a"); err != nil {
				t.Errorf("the client was closed: %v", err)
			}
		})
	}
}

func TestARequestThatIsGivenUpIsNoSilence(t *testing.T) {
	t.Parallel()
	s := newSilence(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unavailable := status.Error(codes.Unavailable, "no connection")
	_ = requestOf(ctx, s, 0, status.FromContextError(ctx.Err()).Err())
	if waits, answered := s.look(); waits || answered {
		t.Errorf("one that was given up: waits: %v, answered: %v", waits, answered)
	}
	_ = requestOf(t.Context(), s, 0, unavailable)
	if waits, answered := s.look(); !waits || answered {
		t.Errorf("one without an answer: waits: %v, answered: %v", waits, answered)
	}
}

func TestAnErrorWithAnExitCodeIsNotTakenForSilence(t *testing.T) {
	t.Parallel()
	s := newSilence(time.Second)
	s.cause = errors.New("no quorum")
	err := s.during(t.Context(), etcdtest.Client(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})), func() error { return notFoundf("no key") })
	if err == nil || err.Error() != "no key" {
		t.Errorf("got %v, want what etcd had answered", err)
	}
}

func TestAMemberThatFollowsALostLeaderIsNotOK(t *testing.T) {
	t.Parallel()
	c := &doctor.Cluster{Voters: 3, Quorum: 2, Healthy: 1, Members: []doctor.Member{{ID: 1, Name: "etcd1", Reachable: true, Leader: 2}}}
	if got, _ := memberHealth(c, &c.Members[0]); got != "no quorum" {
		t.Errorf("got %q, want no quorum", got)
	}
}

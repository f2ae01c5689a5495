package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// withDialOption is another client of the same members.
func withDialOption(t testing.TB, endpoint string, option grpc.DialOption) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{option}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// watchElsewhere leads the first n watches to another member.
func watchElsewhere(t testing.TB, endpoint, other string, n int64) *clientv3.Client {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(other, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var watches atomic.Int64
	return withDialOption(t, endpoint, grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if strings.HasSuffix(method, "/Watch") && watches.Add(1) <= n {
			cc = conn
		}
		return open(ctx, desc, cc, method, opts...)
	}))
}

func TestAHistoryDoesNotWaitForAMemberThatIsCutOff(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	alone := c.Names()[2]
	if alone == c.Leader() {
		alone = c.Names()[1]
	}
	endpoint := func(name string) string {
		e, err := c.Endpoint(name)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	healthy, lags := endpoint(c.Leader()), endpoint(alone)
	if _, err := c.Isolate(within(t, generous), alone); err != nil {
		t.Fatal(err)
	}
	cli := watchElsewhere(t, healthy, lags, 1)
	first := put(t, cli, "k", "1")
	gone := del(t, cli, "k")
	if got, _ := history(t, cli, "k", nil); got != fmt.Sprintf("create@%d=1 delete@%d", first, gone) {
		t.Errorf("after one watch without a leader: got %s", got)
	}
	never := watchElsewhere(t, healthy, lags, 1000)
	if h, err := keys.ReadHistory(within(t, generous), never, "k", nil); !errors.Is(err, rpctypes.ErrNoLeader) {
		t.Errorf("without any leader: got %+v, %v, want ErrNoLeader", h, err)
	}
}

// cancelled is a stream whose watch etcd ends without a reason.
type cancelled struct {
	grpc.ClientStream
	ended bool
}

func (c *cancelled) RecvMsg(m any) error {
	if c.ended {
		<-c.Context().Done()
		return c.Context().Err()
	}
	err := c.ClientStream.RecvMsg(m)
	if r, ok := m.(*pb.WatchResponse); ok && err == nil && !r.Created {
		c.ended = true
		*r = pb.WatchResponse{Header: r.Header, Canceled: true}
	}
	return err
}

func TestAWatchThatEndsWithoutAReasonIsNoHistory(t *testing.T) {
	cli, p := etcdtest.New(t)
	first := put(t, cli, p+"k", "1")
	gone := del(t, cli, p+"k")
	for _, ends := range []int64{1, 1000} {
		var watches atomic.Int64
		ending := withDialOption(t, cli.Endpoints()[0], grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, cc, method, opts...)
			if err == nil && strings.HasSuffix(method, "/Watch") && watches.Add(1) <= ends {
				s = &cancelled{ClientStream: s}
			}
			return s, err
		}))
		h, err := keys.ReadHistory(within(t, generous), ending, p+"k", nil)
		switch {
		case ends > 1 && (err == nil || !strings.Contains(err.Error(), "ended the watch")):
			t.Errorf("every time: got %+v, %v, want an error", h, err)
		case ends == 1 && (err != nil || len(h.Changes) != 2 || h.Changes[0].Revision != gone || h.Changes[1].Revision != first):
			t.Errorf("once: got %+v, %v, want both changes", h, err)
		}
	}
}

// loseAnswer loses the answer of the first transaction.
func loseAnswer(t testing.TB, cli *clientv3.Client, code codes.Code, then func()) *clientv3.Client {
	t.Helper()
	lost := false
	return withDialOption(t, cli.Endpoints()[0], grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoker(ctx, method, req, reply, cc, opts...)
		if err == nil && strings.HasSuffix(method, "/Txn") && !lost {
			lost = true
			then()
			return status.Error(code, "the answer is lost")
		}
		return err
	}))
}

func TestAnUndeleteWhoseAnswerIsLostHasWrittenTheKey(t *testing.T) {
	cli, p := etcdtest.New(t)
	k := p + "k"
	revision := put(t, cli, k, "1")
	nothing := func() {}
	for name, undelete := range map[string]func(*clientv3.Client) (*keys.Restored, error){
		"Undelete": func(c *clientv3.Client) (*keys.Restored, error) { return keys.Undelete(within(t, generous), c, k, nil) },
		"UndeleteAt": func(c *clientv3.Client) (*keys.Restored, error) {
			return keys.UndeleteAt(within(t, generous), c, k, revision)
		},
	} {
		del(t, cli, k)
		// clientv3 repeats the request.
		r, err := undelete(loseAnswer(t, cli, codes.DeadlineExceeded, nothing))
		resp, getErr := cli.Get(within(t, generous), k)
		if err != nil || getErr != nil || len(resp.Kvs) != 1 || resp.Kvs[0].CreateRevision != r.Revision {
			t.Errorf("%s: got %+v, %v; the key is %v, want it written once", name, r, err, resp)
		}
		if _, err := undelete(loseAnswer(t, cli, codes.DeadlineExceeded, nothing)); !errors.Is(err, keys.ErrExists) {
			t.Errorf("%s of a key that exists: got %v, want ErrExists", name, err)
		}
		// Another client has changed it since.
		del(t, cli, k)
		if _, err := undelete(loseAnswer(t, cli, codes.DeadlineExceeded, func() { put(t, cli, k, "2") })); !errors.Is(err, keys.ErrExists) {
			t.Errorf("%s of a key that was changed: got %v, want ErrExists", name, err)
		}
		del(t, cli, k)
		put(t, cli, k, "1")
		del(t, cli, k)
		// It does not repeat this one.
		if _, err := undelete(loseAnswer(t, cli, codes.Unknown, nothing)); err == nil || !strings.Contains(err.Error(), "may have been written") {
			t.Errorf("%s without an answer: got %v, want that it may have been written", name, err)
		}
	}
}

package ask_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/ask"
)

func TestWhatEtcdAnswersIsInTheRightClass(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	ctx := bounded(t, generous)
	put, err := cli.Put(ctx, prefix+"a", "1")
	if err != nil {
		t.Fatal(err)
	}
	_, tooLarge := cli.Put(ctx, prefix+"a", strings.Repeat("x", 1600<<10))
	_, hugeLocal := cli.Put(ctx, prefix+"a", strings.Repeat("x", 3<<20))
	ops := make([]clientv3.Op, 129)
	for i := range ops {
		ops[i] = clientv3.OpPut(fmt.Sprint(prefix, i), "")
	}
	_, tooMany := cli.Txn(ctx).Then(ops...).Commit()
	_, twice := cli.Txn(ctx).Then(ops[0], ops[0]).Commit()
	_, noLease := cli.Put(ctx, prefix+"a", "", clientv3.WithLease(1234567))
	_, future := cli.Get(ctx, prefix+"a", clientv3.WithRev(put.Header.Revision+1_000_000))
	_, noKey := cli.Put(ctx, "", "")
	cut, cancel := context.WithCancel(ctx)
	cancel()
	_, cancelled := cli.Put(cut, prefix+"a", "2")
	_, late := cli.Put(bounded(t, time.Nanosecond), prefix+"a", "2")
	for _, test := range []struct {
		name string
		err  error
		want ask.Class
	}{
		{"nothing", nil, ask.Done},
		{"too large for the server", tooLarge, ask.Final},
		{"too large for gRPC", hugeLocal, ask.Final},
		{"too many operations", tooMany, ask.Final},
		{"a key twice", twice, ask.Final},
		{"an unknown lease", noLease, ask.Final},
		{"a future revision", future, ask.Final},
		{"no key", noKey, ask.Final},
		{"cancelled", cancelled, ask.Ambiguous},
		{"late", late, ask.Ambiguous},
		{"a closed client", fmt.Errorf("x: %w", ask.ErrClosed), ask.Final},
	} {
		if test.want != ask.Done && test.err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		if got := ask.ClassOf(test.err); got != test.want {
			t.Errorf("%s: %v: got %v, want %v", test.name, test.err, got, test.want)
		}
		if got, want := ask.NotApplied(test.err), test.want == ask.Final; got != want {
			t.Errorf("%s: NotApplied: got %v, want %v", test.name, got, want)
		}
	}
}

func TestEtcdsOtherErrorsAreInTheRightClass(t *testing.T) {
	for want, errs := range map[ask.Class][]error{
		ask.Refused: {rpctypes.ErrNoLeader, rpctypes.ErrTooManyRequests, rpctypes.ErrNoSpace, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision},
		ask.Final:   {rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrLeaseNotFound, rpctypes.ErrCompacted, rpctypes.ErrRequestTooLarge},
		ask.Ambiguous: {rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrStopped,
			rpctypes.ErrLeaderChanged, rpctypes.ErrUnhealthy, context.DeadlineExceeded, errors.New("something else")},
	} {
		for _, err := range errs {
			for _, err := range []error{err, fmt.Errorf("wrapped: %w", err)} {
				if got := ask.ClassOf(err); got != want {
					t.Errorf("%v: got %v, want %v", err, got, want)
				}
			}
		}
	}
	if err := rpctypes.ErrAuthOldRevision; !ask.StaleToken(err) || ask.Unauthorised(err) || ask.Permanent(err) {
		t.Errorf("%v: want a stale token, and no refusal of the user", err)
	}
	for _, err := range []error{nil, context.DeadlineExceeded, rpctypes.ErrTooManyRequests, rpctypes.ErrNoLeader} {
		if ask.StaleToken(err) || ask.Unauthorised(err) || ask.Permanent(err) {
			t.Errorf("%v: is taken for permanent, or about the user", err)
		}
	}
}

func TestAMemberWithoutALeaderRefuses(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	name := c.Names()[0]
	if _, err := c.Isolate(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	endpoint, err := c.Endpoint(name)
	if err != nil {
		t.Fatal(err)
	}
	cc, release, err := ask.Of(etcdtest.Client(t, c)).Conn(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var got error
	until(t, "the member notices", func() bool {
		_, got = pb.NewKVClient(cc).Put(clientv3.WithRequireLeader(bounded(t, 5*time.Second)), &pb.PutRequest{Key: []byte("x")})
		return errors.Is(rpctypes.Error(got), rpctypes.ErrNoLeader)
	})
	if ask.ClassOf(got) != ask.Refused || !ask.IsAnswer(got) {
		t.Errorf("%v: got %v, want refused, and an answer", got, ask.ClassOf(got))
	}
}

func TestACallThatFindsNoConnectionWasNotSent(t *testing.T) {
	all, addrs := doors(t, closes)
	kv := func(ctx context.Context, c *clientv3.Client) (ask.Sent, error) {
		var s ask.Sent
		_, err := pb.NewKVClient(c.ActiveConnection()).Put(ctx, &pb.PutRequest{Key: []byte("x")}, s.Option())
		return s, err
	}
	if s, err := kv(bounded(t, 500*time.Millisecond), plain(t, addrs...)); err == nil || s.Maybe() {
		t.Errorf("refused: %v, sent %v; want an error, and not sent", err, s.Maybe())
	}
	all[0].become(silent)
	if s, err := kv(bounded(t, 500*time.Millisecond), plain(t, addrs[0])); err == nil || s.Maybe() {
		t.Errorf("no connection in time: %v, sent %v; want an error, and not sent", err, s.Maybe())
	}
	all[1].become(leads)
	if s, err := kv(bounded(t, generous), plain(t, addrs[1])); err != nil || !s.Maybe() {
		t.Errorf("answered: %v, sent %v; want no error, and sent", err, s.Maybe())
	}
}

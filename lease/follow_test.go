package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
)

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// grantID grants a lease without a Keeper.
func grantID(t *testing.T, cli *clientv3.Client, ttl int64) clientv3.LeaseID {
	t.Helper()
	resp, err := cli.Grant(bounded(t), ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = cli.Revoke(ctx, resp.ID)
	})
	return resp.ID
}

// follow calls saw for each look, and returns the last one.
func follow(t *testing.T, cli *clientv3.Client, id clientv3.LeaseID, saw func(lease.Look)) lease.Look {
	t.Helper()
	var last lease.Look
	for l, err := range lease.Follow(bounded(t), cli, id) {
		if err != nil {
			t.Fatal(err)
		}
		saw(l)
		last = l
	}
	return last
}

func TestALeaseThatRunsOutIsToldFromOneThatIsRevoked(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	short := grantID(t, cli, 2)
	looks := 0
	count := func(l lease.Look) {
		looks++
		if l.Renewed || l.Restarted {
			t.Errorf("a renewal was seen that was not made: %+v", l)
		}
	}
	if l := follow(t, cli, short, count); l.Ended != lease.EndExpired || l.Granted != 2*time.Second {
		t.Errorf("a lease of 2s ended as %+v, want expired", l)
	}
	if looks < 3 {
		t.Errorf("%d looks, want some before the end", looks)
	}

	long, revoked := grantID(t, cli, 300), false
	l := follow(t, cli, long, func(lease.Look) {
		if !revoked {
			revoked = true
			if _, err := cli.Revoke(bounded(t), long); err != nil {
				t.Fatal(err)
			}
		}
	})
	if l.Ended != lease.EndRevoked || l.Left < 300*time.Second-time.Minute || l.Left > 300*time.Second {
		t.Errorf("a lease that was revoked ended as %+v, want revoked with nearly 5m left", l)
	}
}

func TestARenewalIsSeen(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	id := grantID(t, cli, 5)
	renewed := false
	for l, err := range lease.Follow(bounded(t), cli, id) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Renewed && renewed:
			return
		case l.Renewed:
			t.Fatalf("a renewal was seen that was not made: %+v", l)
		case l.Remaining <= 2*time.Second && !renewed:
			renewed = true
			if ttl, err := lease.Renew(bounded(t), cli, id); err != nil || ttl != 5*time.Second {
				t.Fatalf("Renew: %v, %v, want 5s", ttl, err)
			}
		case l.Ended != "":
			t.Fatalf("it ended: %+v", l)
		}
	}
}

func TestAnOutageIsToldAndTheLeaseGoesOnBeingFollowed(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	id := grantID(t, cli, 300)
	paused, resumed := false, false
	for l, err := range lease.Follow(bounded(t), cli, id) {
		switch {
		case err != nil:
			t.Fatal(err)
		case !paused:
			paused = true
			if _, err := c.Pause(bounded(t), "all"); err != nil {
				t.Fatal(err)
			}
		case l.Unanswered != nil && !resumed:
			resumed = true
			if l.Remaining == 0 || l.Ended != "" || !strings.Contains(l.Unanswered.Error(), c.Endpoints()[0]) {
				t.Errorf("got %+v, want what remains at least, and the endpoints", l)
			}
			if _, err := c.Resume(bounded(t), "all"); err != nil {
				t.Fatal(err)
			}
		case l.Unanswered == nil && resumed:
			return
		}
	}
}

func TestALeaseThatIsNotThereIsNeitherFollowedNorRenewed(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for l, err := range lease.Follow(bounded(t), cli, 0xabc) {
		if !errors.Is(err, lease.ErrNotFound) {
			t.Errorf("Follow: got %+v, %v, want ErrNotFound", l, err)
		}
	}
	if _, err := lease.Renew(bounded(t), cli, 0xabc); !errors.Is(err, lease.ErrNotFound) {
		t.Errorf("Renew: got %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range lease.Follow(ctx, cli, grantID(t, cli, 60)) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Follow with a context that has ended: %v", err)
		}
	}
}

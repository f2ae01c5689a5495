package compare_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/compare"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

func dial(cli *clientv3.Client) func(context.Context) (*clientv3.Client, error) {
	return func(ctx context.Context) (*clientv3.Client, error) {
		return client.Dial(ctx, &client.Options{Endpoints: cli.Endpoints()})
	}
}

func job(cli *clientv3.Client) *compare.Job {
	return &compare.Job{Dial: dial(cli), Workers: 2, Rounds: 3}
}

func TestAnUpdateIsLostWhenTheFinalValueWasNotBuiltOnIt(t *testing.T) {
	for name, c := range map[string]struct {
		updates []compare.Update
		lost    int
	}{
		"nothing happened":              {nil, 0},
		"one after the other":           {[]compare.Update{{Read: 0, Wrote: 2}, {Read: 2, Wrote: 3}, {Read: 3, Wrote: 4}}, 0},
		"both began at once":            {[]compare.Update{{Read: 0, Wrote: 2}, {Read: 0, Wrote: 3}}, 1},
		"two overwritten by one":        {[]compare.Update{{Read: 0, Wrote: 2}, {Read: 2, Wrote: 3}, {Read: 0, Wrote: 4}}, 2},
		"overwritten, but it came back": {[]compare.Update{{Read: 0, Wrote: 2}, {Read: 0, Wrote: 3}, {Read: 2, Wrote: 4}}, 1},
	} {
		r := compare.Result{Updates: c.updates}
		if got := r.Lost(); got != c.lost {
			t.Errorf("%s: %d lost, want %d, of %+v", name, got, c.lost, c.updates)
		}
	}
}

func TestALockThatChangesHandsIsSeenAndSoIsTheWorstWait(t *testing.T) {
	r := compare.Result{Updates: []compare.Update{{Worker: 0, Waited: 3}, {Worker: 0, Waited: 9}, {Worker: 2, Waited: 1}, {Worker: 1}, {Worker: 1}}}
	if got := r.HandOvers(); got != 2 {
		t.Errorf("%d hand-overs, want 2, of %+v", got, r.Updates)
	}
	if got := r.WorstWait(); got != 9 {
		t.Errorf("the worst wait is %d, want 9, of %+v", got, r.Updates)
	}
}

func TestARaceThatGoesOnLeavesOutWhatIsBuiltOnAnUpdateNotYetSeen(t *testing.T) {
	all := []compare.Update{{Read: 0, Wrote: 2, Value: 1}, {Read: 2, Wrote: 3, Value: 0}, {Read: 3, Wrote: 5, Value: 1}, {Read: 5, Wrote: 6, Value: 0}}
	for name, c := range map[string]struct {
		seen   []compare.Update
		counts int
	}{
		"all":                       {all, 4},
		"not in order":              {[]compare.Update{all[3], all[0], all[2], all[1]}, 4},
		"the second is on its way":  {[]compare.Update{all[0], all[2], all[3]}, 1},
		"the first is on its way":   {all[1:], 0},
		"the last is on its way":    {all[:3], 3},
		"nothing has been seen yet": {nil, 0},
	} {
		r := compare.SoFar(c.seen)
		if len(r.Updates) != c.counts || r.Lost() != 0 {
			t.Errorf("%s: %d updates count and %d of them are lost, want %d and 0", name, len(r.Updates), r.Lost(), c.counts)
		}
	}
}

func TestTheRaceTellsOfEachUpdateWhenItIsMade(t *testing.T) {
	cli, _ := etcdtest.New(t)
	j := job(cli)
	j.Workers = 4
	var mu sync.Mutex
	seen := map[int]int{}
	j.Seen = func(u compare.Update) {
		mu.Lock()
		defer mu.Unlock()
		seen[u.Worker] += u.Value
	}
	r, err := j.Run(t.Context(), compare.Method{Lock: "none", Join: func(*compare.Worker) (compare.Change, error) {
		return func(context.Context) (*clientv3.GetResponse, int64, error) { return new(clientv3.GetResponse), 2, nil }, nil
	}})
	if err != nil || len(r.Updates) != 12 {
		t.Fatalf("%+v, %v, want 12 updates", r, err)
	}
	if want := (map[int]int{0: 3, 1: -3, 2: 3, 3: -3}); !maps.Equal(seen, want) {
		t.Errorf("sums by worker: %v, want %v", seen, want)
	}
}

func TestEachWorkerHasAClientAndALeaseOfItsOwn(t *testing.T) {
	cli, _ := etcdtest.New(t)
	var mu sync.Mutex
	clients, leases, calls := map[*clientv3.Client]int{}, map[clientv3.LeaseID]bool{}, 0
	r, err := job(cli).Run(t.Context(), compare.Method{Lock: "none", Join: func(s *compare.Worker) (compare.Change, error) {
		clients[s.Cli], leases[s.Lease] = s.Delta, true
		return func(context.Context) (*clientv3.GetResponse, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			return new(clientv3.GetResponse), int64(calls + 1), nil
		}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(clients) != 2 || len(leases) != 2 || len(r.Updates) != 6 {
		t.Errorf("%d clients, %d leases, %d updates; want 2, 2, 6", len(clients), len(leases), len(r.Updates))
	}
	sum := 0
	for _, delta := range clients {
		sum += delta
	}
	if sum != 0 {
		t.Errorf("the deltas are %v, want +1 and -1", clients)
	}
}

func TestTheFirstErrorEndsTheRaceForBoth(t *testing.T) {
	cli, _ := etcdtest.New(t)
	broken := errors.New("broken")
	var lease clientv3.LeaseID
	_, err := job(cli).Run(t.Context(), compare.Method{Lock: "none", Join: func(s *compare.Worker) (compare.Change, error) {
		return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
			if s.Delta < 0 {
				return nil, 0, broken
			}
			lease = s.Lease
			if _, err := s.Cli.Put(context.WithoutCancel(ctx), s.Counter, "1", clientv3.WithLease(lease)); err != nil {
				t.Error(err)
			}
			<-ctx.Done() // for ever, were it not for the other's error
			return nil, 0, ctx.Err()
		}, nil
	}})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want an error that is %v", err, broken)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left, err := cli.Get(ctx, "counter-", clientv3.WithPrefix())
	if err != nil || left.Count != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if ttl, err := cli.TimeToLive(ctx, lease); err != nil || ttl.TTL != -1 {
		t.Errorf("the lease still lives: %v, %v", ttl, err)
	}
}

func TestACancelledRaceSaysWhy(t *testing.T) {
	cli, _ := etcdtest.New(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := job(cli).Run(ctx, compare.Method{Lock: "none", Join: func(*compare.Worker) (compare.Change, error) {
		return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
			cancel(errors.New("enough"))
			<-ctx.Done()
			return nil, 0, ctx.Err()
		}, nil
	}})
	if err == nil || err.Error() != "enough" {
		t.Errorf("got %v, want the cause: enough", err)
	}
}

func ExampleResult() {
	r := &compare.Result{Took: 70 * time.Millisecond, Updates: []compare.Update{
		{Read: 0, Wrote: 2, Value: 1},  // the Adder
		{Read: 2, Wrote: 3, Value: 2},  // and once more
		{Read: 0, Wrote: 4, Value: -1}, // the Subtractor, which had read before both
	}}
	fmt.Printf("counter %d, %d of %d updates lost\n", r.Counter(), r.Lost(), len(r.Updates))
	// Output: counter -1, 2 of 3 updates lost
}

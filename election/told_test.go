package election_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// ways are how others end a term.
var ways = map[string]func(ctx context.Context, cli *clientv3.Client, key string) error{
	"deleted": func(ctx context.Context, cli *clientv3.Client, key string) error {
		_, err := cli.Delete(ctx, key)
		return err
	},
	"revoked": func(ctx context.Context, cli *clientv3.Client, key string) error {
		resp, err := cli.Get(ctx, key)
		if err != nil {
			return err
		}
		_, err = cli.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
		return err
	},
}

func TestATermThatSomebodyEndsIsToldAtOnce(t *testing.T) {
	for way, end := range ways {
		for _, age := range []time.Duration{0, 1500 * time.Millisecond} { // before and after its key is watched
			t.Run(way+" after "+age.String(), func(t *testing.T) {
				t.Parallel()
				cli, prefix := etcdtest.New(t)
				e := election.New(cli, prefix+"election", nil)
				defer e.Close()
				term := campaign(t, e, "a")
				<-time.After(age)
				if err := end(bounded(t), cli, term.Key()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				<-term.Done()
				want := time.Second
				if age == 0 {
					want = 2500 * time.Millisecond // the first second needs no request
				}
				if took := time.Since(began); !errors.Is(term.Err(), election.ErrLost) || took > want {
					t.Errorf("%v after %v, want ErrLost within %v", term.Err(), took, want)
				}
			})
		}
	}
}

// The figure of how soon a loss is told, beside a Put.
func TestALossIsToldWithinTwoPuts(t *testing.T) {
	if race {
		t.Skip("a figure")
	}
	cli, prefix := etcdtest.New(t)
	other, _ := counting(t, cli.Endpoints())
	const rounds, n = 3, 9
	type led struct {
		*election.Term
		on clientv3.LeaseID
	}
	losses := make(map[string][]led)
	for way := range ways {
		for i := range rounds * n {
			term := campaign(t, newElection(t, cli, fmt.Sprint(prefix, way, i)), "x")
			resp, err := other.Get(bounded(t), term.Key())
			if err != nil {
				t.Fatal(err)
			}
			losses[way] = append(losses[way], led{term, clientv3.LeaseID(resp.Kvs[0].Lease)})
			term.Done()
		}
	}
	<-time.After(1500 * time.Millisecond) // their keys are watched from a second on; nothing tells
	for way, terms := range losses {
		t.Run(way, func(t *testing.T) {
			best := math.Inf(1)
			for round := range slices.Chunk(terms, n) { // the best one counts: the machine has other work
				var puts, tolds []time.Duration
				for _, term := range round {
					began := time.Now()
					if _, err := other.Put(bounded(t), prefix+"put", "x"); err != nil {
						t.Fatal(err)
					}
					puts = append(puts, time.Since(began))
					began = time.Now()
					var err error
					if way == "deleted" {
						_, err = other.Delete(bounded(t), term.Key())
					} else {
						_, err = other.Revoke(bounded(t), term.on)
					}
					if err != nil {
						t.Fatal(err)
					}
					answered := time.Since(began)
					<-term.Done()
					told := time.Since(began)
					if way != "deleted" { // that itself takes etcd about two Puts; it counts as one
						told += puts[len(puts)-1] - answered
					}
					tolds = append(tolds, told)
				}
				slices.Sort(puts)
				slices.Sort(tolds)
				put, told := puts[n/2], tolds[n/2]
				t.Logf("told within %v, %.2f × a Put (%v)", told, float64(told)/float64(put), put)
				best = min(best, float64(told)/float64(put))
			}
			if best > 2 {
				t.Errorf("%.2f × a Put, want 2", best)
			}
		})
	}
}

func TestRunIsToldOfADeletion(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	e := election.New(cli, prefix+"election", nil)
	defer e.Close()
	terms := 0
	err := e.Run(bounded(t), "a", func(ctx context.Context, term *election.Term) error {
		if terms++; terms == 2 {
			return nil
		}
		if _, err := cli.Delete(ctx, term.Key()); err != nil {
			return err
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, election.ErrLost) {
			t.Errorf("cause %v, want ErrLost", cause)
		}
		return ctx.Err()
	})
	if err != nil || terms != 2 {
		t.Errorf("%v after %d terms, want the second one to end it", err, terms)
	}
}

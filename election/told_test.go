package election_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/internal/queuetest"
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

func TestATermThatAnotherClientEndsIsLostAtOnce(t *testing.T) {
	t.Parallel()
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

func TestALossIsKnownWithinTwoPuts(t *testing.T) {
	if means.Race {
		t.Skip("a figure")
	}
	cli, prefix := etcdtest.New(t)
	other, _ := counting(t, cli.Endpoints())
	losses := make(map[string][]queuetest.Held)
	for way := range ways {
		for i := range queuetest.MeasureHolds {
			term := campaign(t, newElection(t, cli, fmt.Sprint(prefix, way, i)), "x")
			resp, err := other.Get(bounded(t), term.Key())
			if err != nil {
				t.Fatal(err)
			}
			losses[way] = append(losses[way], queuetest.Held{Key: term.Key(), Lease: clientv3.LeaseID(resp.Kvs[0].Lease), Done: term.Done()})
		}
	}
	<-time.After(1500 * time.Millisecond) // their keys are watched from a second on, and nothing shows when
	for way, terms := range losses {
		t.Run(way, func(t *testing.T) { queuetest.ToldWithinTwoPuts(t, other, prefix, way == "revoked", terms) })
	}
}

func TestRunEndsItsContextWhenTheKeyIsDeleted(t *testing.T) {
	t.Parallel()
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

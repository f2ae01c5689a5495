package election_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestRunEndsWithItsFunctionsErrorWhateverItIs(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	calls := 0
	err := e.Run(bounded(t), "a", func(context.Context, *election.Term) error {
		calls++
		return fmt.Errorf("the other one: %w", election.ErrLost)
	})
	if calls != 1 || !errors.Is(err, election.ErrLost) {
		t.Errorf("%d calls, %v: want one, and its error", calls, err)
	}
}

func TestRunCampaignsAgainAndNeverCallsTwiceAtOnce(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	var calls, at atomic.Int32
	var tokens []int64
	done := errors.New("done")
	err := e.Run(bounded(t), "a", func(ctx context.Context, term *election.Term) error {
		if at.Add(1) > 1 {
			t.Error("two calls at once")
		}
		defer at.Add(-1)
		tokens = append(tokens, term.Token())
		if calls.Add(1) == 4 {
			return done
		}
		resp, err := cli.Get(ctx, term.Key())
		if err != nil {
			return err
		}
		if _, err := cli.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
			return err
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, election.ErrLost) {
			t.Errorf("cause %v, want ErrLost", cause)
		}
		return errors.New("given up")
	})
	if !errors.Is(err, done) || errors.Is(err, election.ErrLost) {
		t.Errorf("got %v, want the function's error", err)
	}
	for n := 1; n < len(tokens); n++ {
		if tokens[n] <= tokens[n-1] {
			t.Errorf("tokens %v, want them to increase", tokens)
		}
	}
	candidates(t, cli, prefix+"jobs", 0)
}

func TestACallbackThatHangsSeesItsContextEndAndIsNotCalledAgainMeanwhile(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	e, other := newElection(t, cli, prefix+"jobs"), newElection(t, cli, prefix+"jobs")
	told, free := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	var running sync.WaitGroup
	running.Go(func() {
		_ = e.Run(bounded(t), "a", func(ctx context.Context, term *election.Term) error {
			if calls.Add(1) > 1 {
				return nil
			}
			resp, err := cli.Get(ctx, term.Key())
			if err != nil {
				return err
			}
			if _, err := cli.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
				return err
			}
			<-ctx.Done()
			close(told)
			<-free // it hangs
			return nil
		})
	})
	<-told
	resign(t, campaign(t, other, "b")) // another process is elected meanwhile
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1 while it hangs", n)
	}
	close(free)
	running.Wait()
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls, want another one when it has returned", n)
	}
}

func TestRunResignsWhenItsFunctionPanicsOrTheContextEnds(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_ = e.Run(bounded(t), "a", func(context.Context, *election.Term) error { panic("oh") })
	}()
	candidates(t, cli, prefix+"jobs", 0)
	ctx, cancel := context.WithCancel(bounded(t))
	err := e.Run(ctx, "a", func(ctx context.Context, _ *election.Term) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
	candidates(t, cli, prefix+"jobs", 0)
}

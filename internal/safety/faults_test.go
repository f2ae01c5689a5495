package safety_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
)

const (
	traffic  = 50                      // acknowledged writes before each fault
	breather = 1500 * time.Millisecond // at most between that traffic and the fault
	outage   = 2 * time.Second         // at most, of the member that was the leader
)

// nemesis does to the system what it must survive. Its two lines of work go on side by side, so
// that a worker may be stopped while etcd elects.
type nemesis struct {
	cluster  *cluster.Cluster
	cli      *clientv3.Client
	workers  *fleet
	history  *history
	visitors map[subject]chan op // the last one to have begun a visit of a register

	mu     sync.Mutex
	newest map[subject]int64 // token
}

func newNemesis(c *cluster.Cluster, cli *clientv3.Client, h *history, workers *fleet) *nemesis {
	n := &nemesis{cluster: c, cli: cli, history: h, workers: workers, visitors: make(map[subject]chan op), newest: make(map[subject]int64)}
	for _, s := range subjects {
		n.visitors[s] = make(chan op, 1)
	}
	workers.hear = func(_ *process, o op) {
		h.add(o)
		n.hear(o)
	}
	return n
}

// hear is told of all operations of the guarded arm.
func (n *nemesis) hear(o op) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := o.of()
	if o.Op != read || o.Outcome != ok || o.Token <= n.newest[s] || !strings.HasPrefix(o.Key, s.registers()) {
		return
	}
	n.newest[s] = o.Token
	visitor := n.visitors[s]
	select {
	case <-visitor:
	default:
	}
	visitor <- o
}

// line does faults in turn, at random moments, until the time for them is over and each was done.
func (n *nemesis) line(ctx, faults context.Context, random *rand.Rand, turn ...func(context.Context, *rand.Rand) error) error {
	first := random.IntN(len(turn))
	for i := 0; i < len(turn) || faults.Err() == nil; i++ {
		if err := n.calm(ctx, traffic, subjects...); err != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(random.Int64N(int64(breather)))):
		case <-faults.Done():
		}
		if err := turn[(first+i)%len(turn)](ctx, random); err != nil {
			return err
		}
	}
	return nil
}

// calm waits until so many more writes were acknowledged.
func (n *nemesis) calm(ctx context.Context, writes int, of ...subject) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := n.history.more(ctx, writes, of...); err != nil {
		return fmt.Errorf("void: within %v fewer than %d writes of %v were acknowledged: %w", wait, writes, of, err)
	}
	return nil
}

// pauseHolder stops workers that hold a subject, at least until the entry is gone and others have
// written, until one of them wanted to read or write under it all the same.
func (n *nemesis) pauseHolder(of subject) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, random *rand.Rand) error {
		late := time.NewTimer(wait)
		defer late.Stop()
		select {
		case <-n.visitors[of]: // its visit may be over
		default:
		}
		for {
			var at op
			select {
			case at = <-n.visitors[of]:
			case <-ctx.Done():
				return ctx.Err()
			case <-late.C:
				return fmt.Errorf("void: within %v no worker could be paused while it held the %s", wait, of)
			}
			p := n.workers.take(at.Worker, nil)
			if p == nil {
				continue // something else is done to it
			}
			done, err := n.pauseIfHolding(ctx, random, p, of, at.Token)
			n.workers.giveBack(p)
			if done || err != nil {
				return err
			}
		}
	}
}

func (n *nemesis) pauseIfHolding(ctx context.Context, random *rand.Rand, p *process, of subject, token int64) (done bool, err error) {
	f, err := stop(p)
	if err != nil {
		return false, err
	}
	key := n.entry(ctx, of, token)
	if key == "" { // it was quicker, or etcd does not say
		return false, p.signal(syscall.SIGCONT)
	}
	linger(ctx, random)
	if err = n.gone(ctx, key, token); err == nil {
		err = n.calm(ctx, 1, of)
	}
	f.Effect = fmt.Sprintf("stopped, and went on when the %s had gone on from token %d", of, token)
	if err := errors.Join(err, n.goOn(p, f)); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return n.history.refused(ctx, of, token) // not if it had been about to give it up
}

func stop(p *process) (fault, error) {
	f := fault{Kind: pauseWorker, On: p.id, Begin: now(), Effect: "stopped"}
	return f, p.signal(syscall.SIGSTOP)
}

// linger takes 1.5 to 3 TTL.
func linger(ctx context.Context, random *rand.Rand) {
	select {
	case <-time.After(ttl*3/2 + time.Duration(random.Int64N(int64(ttl*3/2)))):
	case <-ctx.Done():
	}
}

func (n *nemesis) goOn(p *process, f fault) error {
	f.End = now()
	n.history.addFault(f)
	return p.signal(syscall.SIGCONT)
}

// entry is the key of the one with a token, if it is still there.
func (n *nemesis) entry(ctx context.Context, of subject, token int64) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := n.cli.Get(ctx, of.queue(), clientv3.WithPrefix(), clientv3.WithMinCreateRev(token), clientv3.WithMaxCreateRev(token), clientv3.WithKeysOnly())
	if err != nil || len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Key)
}

// gone waits until the entry is deleted.
func (n *nemesis) gone(ctx context.Context, key string, token int64) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for resp := range n.cli.Watch(ctx, key, clientv3.WithRev(token+1), clientv3.WithFilterPut()) {
		if len(resp.Events) > 0 {
			return nil
		}
	}
	return fmt.Errorf("void: %s outlives its stopped owner: %w", key, context.Cause(ctx))
}

// killAny ends a worker. Another one takes its place.
func (n *nemesis) killAny(_ context.Context, random *rand.Rand) error {
	p := n.workers.take("", random.IntN)
	if p == nil {
		return errors.New("no worker is left to kill")
	}
	f := fault{Kind: killWorker, On: p.id, Begin: now()}
	if err := p.kill(); err != nil {
		return err
	}
	f.End, f.Effect = now(), "killed"
	n.history.addFault(f)
	return n.workers.start()
}

// killLeader ends etcd's leader, and brings it back after a while.
func (n *nemesis) killLeader(ctx context.Context, random *rand.Rand) error {
	name := n.cluster.Leader()
	for ; name == ""; name = n.cluster.Leader() { // the members do not agree yet, or say so later
		if err := n.calm(ctx, 1, subjects...); err != nil {
			return err
		}
	}
	f := fault{Kind: killLeader, On: name, Begin: now()}
	change, err := n.cluster.Kill(ctx, name)
	if err != nil {
		return err
	}
	if change.LeaderBefore == name && change.Quorum.Leader != "" && change.Quorum.Leader != name {
		f.Effect = change.String()
	}
	select {
	case <-time.After(time.Duration(random.Int64N(int64(outage)))):
	case <-ctx.Done():
	}
	if _, err := n.cluster.Start(ctx, name); err != nil {
		return err
	}
	f.End = now()
	n.history.addFault(f)
	return nil
}

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
	cluster *cluster.Cluster
	cli     *clientv3.Client
	workers *fleet
	history *history

	mu      sync.Mutex
	newest  int64   // token
	visitor chan op // the last one to have begun a visit of a register
}

func newNemesis(c *cluster.Cluster, cli *clientv3.Client, h *history, workers *fleet) *nemesis {
	n := &nemesis{cluster: c, cli: cli, history: h, workers: workers, visitor: make(chan op, 1)}
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
	if o.Op != read || o.Outcome != ok || o.Token <= n.newest || !strings.HasPrefix(o.Key, registers) {
		return
	}
	n.newest = o.Token
	select {
	case <-n.visitor:
	default:
	}
	n.visitor <- o
}

// line does faults in turn, at random moments, until the time for them is over and each was done.
func (n *nemesis) line(ctx, faults context.Context, random *rand.Rand, turn ...func(context.Context, *rand.Rand) error) error {
	first := random.IntN(len(turn))
	for i := 0; i < len(turn) || faults.Err() == nil; i++ {
		if err := n.calm(ctx, traffic); err != nil {
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
func (n *nemesis) calm(ctx context.Context, writes int) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := n.history.more(ctx, writes); err != nil {
		return fmt.Errorf("void: within %v fewer than %d writes were acknowledged: %w", wait, writes, err)
	}
	return nil
}

// pauseAny stops a worker, whatever it does.
func (n *nemesis) pauseAny(ctx context.Context, random *rand.Rand) error {
	p := n.workers.take("", random.IntN)
	if p == nil {
		return errors.New("no worker is left to pause")
	}
	defer n.workers.giveBack(p)
	f, err := stop(p)
	if err != nil {
		return err
	}
	linger(ctx, random)
	return n.goOn(p, f)
}

// pauseHolder stops a worker that holds the lock and is about to write under it, at least until
// others have had the lock and written.
func (n *nemesis) pauseHolder(ctx context.Context, random *rand.Rand) error {
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-n.visitor: // its visit may be over
	default:
	}
	for {
		var at op
		select {
		case at = <-n.visitor:
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("void: within %v nobody could be stopped while it held the lock", wait)
		}
		p := n.workers.take(at.Worker, nil)
		if p == nil {
			continue // something else is done to it
		}
		done, err := n.pauseIfHolding(ctx, random, p, at.Token)
		n.workers.giveBack(p)
		if done || err != nil {
			return err
		}
	}
}

func (n *nemesis) pauseIfHolding(ctx context.Context, random *rand.Rand, p *process, token int64) (done bool, err error) {
	f, err := stop(p)
	if err != nil {
		return false, err
	}
	key := n.first(ctx, token)
	if key == "" { // it was quicker, or etcd does not say
		return false, p.signal(syscall.SIGCONT)
	}
	linger(ctx, random)
	if err = n.gone(ctx, key, token); err == nil {
		err = n.calm(ctx, 1)
	}
	f.Effect = fmt.Sprintf("stopped, and lost the lock that it held with token %d", token)
	return true, errors.Join(err, n.goOn(p, f))
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

// first is the key of the oldest entry, if its token is this one.
func (n *nemesis) first(ctx context.Context, token int64) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := n.cli.Get(ctx, lockName+"/", clientv3.WithFirstCreate()...)
	if err != nil || len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != token {
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
		if err := n.calm(ctx, 1); err != nil {
			return err
		}
	}
	f := fault{Kind: killLeader, On: name, Begin: now()}
	change, err := n.cluster.Kill(ctx, name)
	if err != nil {
		return err
	}
	if change.Was == name && change.Quorum.Leader != "" && change.Quorum.Leader != name {
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

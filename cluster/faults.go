package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// settleTimeout bounds how long a fault waits for the members to agree on a leader.
const settleTimeout = 15 * time.Second

// Change is what a fault did, as measured: the members' own reports, not a prediction.
type Change struct {
	Did          string `json:"did"`
	Quorum       Quorum `json:"quorum"`
	LeaderBefore string `json:"leader_before"`
	// Elected tells that there was an election: the leader leads in a new term, also if it is the one before.
	Elected bool `json:"elected,omitempty"`
	// Took is the time from the fault until all that are up agreed on the leader: 0 if they did all along.
	// Without a leader it is the time that the fault has waited for one.
	Took    time.Duration `json:"took_ns"`
	CanLose int           `json:"can_lose"`
	// Restored is set where the fault brought a member back: its time until it served.
	Restored time.Duration `json:"restored_ns,omitempty"`
}

// String is one line for people.
func (ch *Change) String() string {
	q := ch.Quorum
	if !q.Held() {
		return ch.Did + " · " + q.String()
	}
	parts := []string{ch.Did}
	if ch.Restored > 0 {
		parts = append(parts, fmt.Sprintf("serves after %.2fs", ch.Restored.Seconds()))
	}
	parts = append(parts, fmt.Sprintf("quorum %d/%d", q.Up, q.Size))
	switch {
	case q.Leader == "":
		return strings.Join(append(parts, fmt.Sprintf("NO LEADER after %.0fs: no writes · heal", ch.Took.Seconds())), " · ")
	case q.Leader == ch.LeaderBefore && ch.Elected:
		parts = append(parts, fmt.Sprintf("leader %s re-elected after %.2fs", q.Leader, ch.Took.Seconds()))
	case q.Leader == ch.LeaderBefore:
		parts = append(parts, "leader "+q.Leader+" stays")
	case ch.LeaderBefore == "":
		parts = append(parts, fmt.Sprintf("leader %s after %.2fs", q.Leader, ch.Took.Seconds()))
	default:
		parts = append(parts, fmt.Sprintf("new leader %s after %.2fs", q.Leader, ch.Took.Seconds()))
	}
	return strings.Join(append(parts, fmt.Sprintf("can lose %d more", ch.CanLose)), " · ")
}

// runFault carries out a fault and measures its consequence. act returns what was done.
func (c *Cluster) runFault(ctx context.Context, act func(context.Context) (string, error)) (*Change, error) {
	c.ops.Lock()
	defer c.ops.Unlock()
	if c.life.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(ErrClosed) })()
	c.mu.Lock()
	was := c.quorum()
	c.mu.Unlock()
	begin := time.Now()
	did, err := act(ctx)
	if err != nil {
		return nil, err
	}
	q, at, err := c.settle(ctx)
	if err != nil {
		return nil, errtext.Errorf("cluster: %s, but the wait for the members to agree on a leader ended early: %w", did, err)
	}
	elected := q.Leader != "" && (q.Leader != was.Leader || q.term != was.term)
	return &Change{Did: did, LeaderBefore: was.Leader, Quorum: q, Elected: elected, Took: max(0, at.Sub(begin)), CanLose: q.CanLose()}, nil
}

// settle waits until the members that can serve do, and agree on a leader; at is when they last began to.
// When they do not within settleTimeout, the answer has no leader, and at is now.
func (c *Cluster) settle(ctx context.Context) (q Quorum, at time.Time, err error) {
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err = c.until(bounded, func() bool {
		q, at = c.quorum(), c.agreement.since
		return len(c.willServe()) == 0 && (!q.Held() || q.Leader != "")
	})
	if bounded.Err() != nil && ctx.Err() == nil {
		err = nil
	}
	if q.Leader == "" {
		at = time.Now()
	}
	return q, at, err
}

// Kill is kill -9: the member's process gets SIGKILL.
func (c *Cluster) Kill(ctx context.Context, member string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		ms, err := c.processTargets(member, toKill)
		if err != nil {
			return "", err
		}
		return joinNames(ms) + " killed", c.endAll(ms, Killed, node.kill)
	})
}

// Stop ends the member gracefully: a leader hands its leadership over first.
func (c *Cluster) Stop(ctx context.Context, member string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		ms, err := c.targets(member, toStop)
		if err != nil {
			return "", err
		}
		return joinNames(ms) + " stopped", c.endAll(ms, Stopped, gracefully(ms))
	})
}

// gracefully is how Stop ends members. When it ends more than one, a leader may have no member to hand
// over to, and etcd would wait for 7 s.
func gracefully(ms []*member) func(node) {
	if len(ms) > 1 {
		return node.stopWithoutHandOver
	}
	return node.stopGracefully
}

// endAll ends members, all at the same time.
func (c *Cluster) endAll(ms []*member, as Status, how func(node)) error {
	ends := make(chan error, len(ms))
	for _, m := range ms {
		go func() { ends <- c.endNode(m, as, how) }() // it is bounded
	}
	var errs []error
	for range ms {
		errs = append(errs, <-ends)
	}
	return joinErrors(errs)
}

// Start brings back a member that was stopped or killed, or that failed, with its data, and
// returns when it serves, or when there is no quorum for it to serve in.
func (c *Cluster) Start(ctx context.Context, member string) (*Change, error) {
	var restored time.Duration
	ch, err := c.runFault(ctx, func(ctx context.Context) (did string, err error) {
		ms, err := c.targets(member, toStart)
		if err != nil {
			return "", err
		}
		restored, err = c.restartAll(ctx, ms)
		return joinNames(ms) + " started", err
	})
	if ch != nil {
		ch.Restored = restored
	}
	return ch, err
}

// Restart is Stop and Start.
func (c *Cluster) Restart(ctx context.Context, member string) (*Change, error) {
	var restored time.Duration
	ch, err := c.runFault(ctx, func(ctx context.Context) (did string, err error) {
		ms, err := c.targets(member, toRestart)
		if err != nil {
			return "", err
		}
		if err := c.endAll(ms, Stopped, gracefully(ms)); err != nil {
			return "", err
		}
		restored, err = c.restartAll(ctx, ms)
		return joinNames(ms) + " restarted", err
	})
	if ch != nil {
		ch.Restored = restored
	}
	return ch, err
}

// restartAll starts members that are down and returns how long it took until all of them served; 0 if they
// cannot because there is no quorum.
func (c *Cluster) restartAll(ctx context.Context, ms []*member) (time.Duration, error) {
	begin := time.Now()
	for n, m := range ms {
		if err := c.relaunch(m); err != nil {
			return 0, alreadyDone(ms[:n], "started", err)
		}
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for _, m := range ms {
		err := c.until(ctx, func() bool { return m.status != Starting || !slices.Contains(c.willServe(), m) })
		if errors.Is(err, context.DeadlineExceeded) && outer.Err() == nil {
			return 0, fmt.Errorf("cluster: %s did not serve within %v (its log: %s)", m.name, settleTimeout, m.spec.LogFile)
		}
		if err != nil {
			return 0, errtext.Errorf("cluster: %s does not serve: %w (its log: %s)", m.name, err, m.spec.LogFile)
		}
		if err := c.failed(m); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(ms, func(m *member) bool { return m.status != Running }) {
		return 0, nil
	}
	return time.Since(begin), nil
}

// relaunch opens the ports of a member that is down, and starts it.
func (c *Cluster) relaunch(m *member) error {
	for _, p := range []*proxy{m.client, m.peer} {
		if err := p.listen(); err != nil {
			m.client.closePort()
			return c.portError(p.addr, err)
		}
	}
	if err := c.launch(m); err != nil {
		m.client.closePort()
		m.peer.closePort()
		return err
	}
	return nil
}

// willServe are the members that are starting and will serve, as they have a majority. c.mu is held.
func (c *Cluster) willServe() []*member {
	group := c.largestGroup((*member).started)
	if len(group) < len(c.members)/2+1 {
		return nil
	}
	return slices.DeleteFunc(group, func(m *member) bool { return m.status != Starting })
}

// Pause is SIGSTOP: the member's process exists and does not answer, as in a long GC or a frozen
// virtual machine. On Linux it has stopped when Pause returns.
func (c *Cluster) Pause(ctx context.Context, member string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		ms, err := c.processTargets(member, toPause)
		if err != nil {
			return "", err
		}
		for n, m := range ms {
			pid, err := c.signal(m, Paused)
			if err != nil {
				return "", alreadyDone(ms[:n], "paused", err)
			}
			if err := awaitStopped(ctx, pid); err != nil {
				err = errtext.Errorf("cluster: %s (pid %d) was sent SIGSTOP and has not stopped yet: %w", m.name, pid, err)
				return "", alreadyDone(ms[:n], "paused", err)
			}
		}
		return joinNames(ms) + " paused", nil
	})
}

// Resume is SIGCONT.
func (c *Cluster) Resume(ctx context.Context, member string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		ms, err := c.processTargets(member, toResume)
		if err != nil {
			return "", err
		}
		for n, m := range ms {
			if _, err := c.signal(m, Running); err != nil {
				return "", alreadyDone(ms[:n], "resumed", err)
			}
		}
		return joinNames(ms) + " resumed", nil
	})
}

func (c *Cluster) signal(m *member, to Status) (pid int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := m.node.(*process)
	if !ok {
		return 0, stateError(m.name + " ended meanwhile")
	}
	send := pause
	if to == Running {
		send = resume
	}
	if err := send(p.cmd.Process); err != nil {
		return 0, errtext.Errorf("cluster: signal %s (pid %d): %w", m.name, p.pid(), err)
	}
	m.status = to
	c.broadcast()
	return p.pid(), nil
}

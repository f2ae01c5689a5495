package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// settleTimeout bounds how long a fault waits for the members to agree on a leader.
const settleTimeout = 15 * time.Second

// Change is what a fault did, as measured: the members' own reports, not a prediction.
type Change struct {
	Did    string `json:"did"`
	Quorum Quorum `json:"quorum"`
	Was    string `json:"was"` // leader before
	// After is the time from the fault until all that are up agreed on a leader.
	After   time.Duration `json:"after_ns"`
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
		return strings.Join(append(parts, fmt.Sprintf("NO LEADER after %.0fs: no writes · heal", ch.After.Seconds())), " · ")
	case q.Leader == ch.Was:
		parts = append(parts, "leader "+q.Leader+" stays")
	case ch.Was == "":
		parts = append(parts, fmt.Sprintf("leader %s after %.2fs", q.Leader, ch.After.Seconds()))
	default:
		parts = append(parts, fmt.Sprintf("new leader %s after %.2fs", q.Leader, ch.After.Seconds()))
	}
	return strings.Join(append(parts, fmt.Sprintf("can lose %d more", ch.CanLose)), " · ")
}

// cause carries out a fault and measures its consequence. act returns what was done.
func (c *Cluster) cause(ctx context.Context, act func(context.Context) (string, error)) (*Change, error) {
	c.ops.Lock()
	defer c.ops.Unlock()
	select {
	case <-c.done:
		return nil, ErrClosed
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the fault
		select {
		case <-c.done:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	was := c.Leader()
	begin := time.Now()
	did, err := act(ctx)
	if err != nil {
		return nil, err
	}
	q, err := c.settle(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster: %s, but what came of it was not waited for: %w", did, err)
	}
	return &Change{Did: did, Was: was, Quorum: q, After: time.Since(begin), CanLose: q.CanLose()}, nil
}

// settle waits until the members that can serve do, and agree on a leader. When they do not
// within settleTimeout, the answer has none.
func (c *Cluster) settle(ctx context.Context) (Quorum, error) {
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var q Quorum
	err := c.until(bounded, func() bool {
		q = c.quorum()
		return len(c.coming()) == 0 && (!q.Held() || q.Leader != "")
	})
	if bounded.Err() != nil && ctx.Err() == nil {
		err = nil
	}
	return q, err
}

// on finds the member for a fault that needs it in one of some states, as a process.
func (c *Cluster) on(name string, states ...State) (*member, error) {
	if c.opts.InProcess {
		return nil, fmt.Errorf("%w and cannot be killed, paused or partitioned; start the cluster without InProcess", ErrInProcess)
	}
	return c.in(name, states...)
}

func (c *Cluster) in(name string, states ...State) (*member, error) {
	m, err := c.member(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(states, m.state) {
		var want []string
		for _, s := range states {
			want = append(want, string(s))
		}
		return nil, fmt.Errorf("%w: %s is %s; this needs it %s", ErrState, m.name, m.state, strings.Join(want, " or "))
	}
	return m, nil
}

// Kill is kill -9: the member's process gets SIGKILL.
func (c *Cluster) Kill(ctx context.Context, member string) (*Change, error) {
	return c.cause(ctx, func(ctx context.Context) (string, error) {
		m, err := c.on(member, Running, Paused, Starting)
		if err != nil {
			return "", err
		}
		return m.name + " killed", c.end(m, node.kill)
	})
}

// Stop ends the member gracefully: a leader hands its leadership over first.
func (c *Cluster) Stop(ctx context.Context, member string) (*Change, error) {
	return c.cause(ctx, func(ctx context.Context) (string, error) {
		m, err := c.in(member, Running, Paused, Starting)
		if err != nil {
			return "", err
		}
		return m.name + " stopped", c.end(m, node.terminate)
	})
}

// Start brings back a member that was stopped or killed, or that failed, with its data, and
// returns when it serves, or when there is no quorum for it to serve in.
func (c *Cluster) Start(ctx context.Context, member string) (*Change, error) {
	var restored time.Duration
	ch, err := c.cause(ctx, func(ctx context.Context) (did string, err error) {
		m, err := c.in(member, Stopped, Failed)
		if err != nil {
			return "", err
		}
		restored, err = c.revive(ctx, m)
		return m.name + " started", err
	})
	if ch != nil {
		ch.Restored = restored
	}
	return ch, err
}

// Restart is Stop and Start.
func (c *Cluster) Restart(ctx context.Context, member string) (*Change, error) {
	var restored time.Duration
	ch, err := c.cause(ctx, func(ctx context.Context) (did string, err error) {
		m, err := c.in(member, Running, Paused, Starting)
		if err != nil {
			return "", err
		}
		if err := c.end(m, node.terminate); err != nil {
			return "", err
		}
		restored, err = c.revive(ctx, m)
		return m.name + " restarted", err
	})
	if ch != nil {
		ch.Restored = restored
	}
	return ch, err
}

// revive returns how long the member took to serve; 0 if it cannot for want of a quorum.
func (c *Cluster) revive(ctx context.Context, m *member) (time.Duration, error) {
	begin := time.Now()
	for _, p := range []*proxy{m.client, m.peer} {
		if err := p.listen(); err != nil {
			m.client.mute()
			return 0, err
		}
	}
	if err := c.launch(m); err != nil {
		m.client.mute()
		m.peer.mute()
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err := c.until(ctx, func() bool { return m.state != Starting || !slices.Contains(c.coming(), m) })
	if err != nil {
		return 0, fmt.Errorf("cluster: %s does not serve: %w (its log: %s)", m.name, err, m.spec.LogFile)
	}
	if err := c.failed(m); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.state != Running {
		return 0, nil
	}
	return time.Since(begin), nil
}

// coming are the members that start and will serve, as they are enough together. c.mu is held.
func (c *Cluster) coming() []*member {
	group := c.largestGroup((*member).started)
	if len(group) < len(c.members)/2+1 {
		return nil
	}
	return slices.DeleteFunc(group, func(m *member) bool { return m.state != Starting })
}

// Pause is SIGSTOP: the member is there and does not answer, as in a long GC or a frozen
// virtual machine. On Linux it has stopped when Pause returns.
func (c *Cluster) Pause(ctx context.Context, member string) (*Change, error) {
	return c.cause(ctx, func(ctx context.Context) (string, error) {
		m, err := c.on(member, Running)
		if err != nil {
			return "", err
		}
		pid, err := c.signal(m, Paused)
		if err != nil {
			return "", err
		}
		if err := awaitStopped(ctx, pid); err != nil {
			return "", fmt.Errorf("cluster: %s (pid %d) was sent SIGSTOP and has not stopped yet: %w", m.name, pid, err)
		}
		return m.name + " paused", nil
	})
}

// Resume is SIGCONT.
func (c *Cluster) Resume(ctx context.Context, member string) (*Change, error) {
	return c.cause(ctx, func(ctx context.Context) (string, error) {
		m, err := c.on(member, Paused)
		if err != nil {
			return "", err
		}
		_, err = c.signal(m, Running)
		return m.name + " resumed", err
	})
}

func (c *Cluster) signal(m *member, to State) (pid int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := m.node.(*process)
	if !ok {
		return 0, fmt.Errorf("%w: %s ended meanwhile", ErrState, m.name)
	}
	send := pause
	if to == Running {
		send = resume
	}
	if err := send(p.cmd.Process); err != nil {
		return 0, fmt.Errorf("cluster: signal %s (pid %d): %w", m.name, p.pid(), err)
	}
	m.state = to
	c.broadcast()
	return p.pid(), nil
}

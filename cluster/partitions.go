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

const (
	// slowLink is the least latency that can depose a leader: with it a heartbeat's round trip comes near the
	// election timeout of 1 s.
	slowLink = 250 * time.Millisecond
	// slowLinkWatch is how long such a latency is watched before its consequence is reported: a little
	// more than two election timeouts.
	slowLinkWatch = 2500 * time.Millisecond
)

// errPartition: the groups of a Partition do not divide the members.
var errPartition = errors.New("name each member at most once, in groups such as etcd1 etcd2,etcd3")

// Isolate cuts a member off from the others, not from its clients: it answers them
// serializable reads, with what it last knew.
func (c *Cluster) Isolate(ctx context.Context, member string) (*Change, error) {
	return c.isolate(ctx, member, false)
}

// Blackhole cuts a member off from the others and from its clients. Nothing is reset:
// connections stay open and silent, as when a network cable is pulled.
func (c *Cluster) Blackhole(ctx context.Context, member string) (*Change, error) {
	return c.isolate(ctx, member, true)
}

func (c *Cluster) isolate(ctx context.Context, name string, fromClients bool) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		ms, err := c.linkTargets(name)
		if err != nil {
			return "", err
		}
		c.changeNetwork(func(r *rules) {
			for _, m := range ms {
				for _, other := range c.members {
					if other != m {
						r.cut[linkOf(m.name, other.name)] = true
					}
				}
				if fromClients {
					r.cut[linkOf(clients, m.name)] = true
				}
			}
		})
		if fromClients {
			return joinNames(ms) + " cut off from members and clients", nil
		}
		return joinNames(ms) + " isolated", nil
	})
}

// Partition divides the members into groups that cannot reach one another. Members that no
// group names are one more group. An earlier partition or isolation is replaced. Clients still reach every
// member.
func (c *Cluster) Partition(ctx context.Context, groups ...[]string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		side, err := c.groupNumbers(groups)
		if err != nil {
			return "", err
		}
		c.changeNetwork(func(r *rules) {
			for l := range r.cut {
				if l.a != clients && l.b != clients {
					delete(r.cut, l)
				}
			}
			for i, a := range c.members {
				for _, b := range c.members[i+1:] {
					if side[a.name] != side[b.name] {
						r.cut[linkOf(a.name, b.name)] = true
					}
				}
			}
		})
		return "partitioned " + c.groupsText(side), nil
	})
}

// groupNumbers numbers the group of each member; 0 is the group of those that were not named.
func (c *Cluster) groupNumbers(groups [][]string) (map[string]int, error) {
	side := make(map[string]int)
	for i, group := range groups {
		for _, name := range group {
			ms, err := c.linkTargets(name)
			if err != nil {
				return nil, err
			}
			for _, m := range ms {
				if side[m.name] != 0 {
					return nil, errtext.Errorf("%w: %s is in two groups; %w", ErrInvalid, m.name, errPartition)
				}
				side[m.name] = i + 1
			}
		}
	}
	different := make(map[int]bool)
	for _, name := range c.Names() {
		different[side[name]] = true
	}
	if len(different) < 2 {
		return nil, errtext.Errorf("%w: these groups leave all members together; %w", ErrInvalid, errPartition)
	}
	return side, nil
}

func (c *Cluster) groupsText(side map[string]int) string {
	groups := make(map[int][]string)
	var order []int
	for _, name := range c.Names() {
		s := side[name]
		if !slices.Contains(order, s) {
			order = append(order, s)
		}
		groups[s] = append(groups[s], name)
	}
	var texts []string
	for _, s := range order {
		texts = append(texts, strings.Join(groups[s], ","))
	}
	return strings.Join(texts, " | ")
}

// Heal makes the network whole: no cuts, no latency. Paused and stopped members stay so.
func (c *Cluster) Heal(ctx context.Context) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		c.changeNetwork(func(r *rules) { clear(r.cut); clear(r.delay) })
		return "network healed", nil
	})
}

// Latency holds every byte to and from the member, on its peer links and its client port, for
// d each way. 0 takes it off.
func (c *Cluster) Latency(ctx context.Context, member string, d time.Duration) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		if d < 0 || d > time.Minute {
			return "", fmt.Errorf("%w: latency %v: want 0 to 1m", ErrInvalid, d)
		}
		ms, err := c.linkTargets(member)
		if err != nil {
			return "", err
		}
		c.changeNetwork(func(r *rules) {
			for _, m := range ms {
				delete(r.delay, m.name)
				if d > 0 {
					r.delay[m.name] = d
				}
			}
		})
		if d == 0 {
			return joinNames(ms) + " without latency", nil
		}
		if d >= slowLink { // the consequence comes with the next missed heartbeats
			select {
			case <-time.After(slowLinkWatch):
			case <-ctx.Done():
			}
		}
		return fmt.Sprintf("%s %v slower each way", joinNames(ms), d), nil
	})
}

// linkTargets finds the members for a fault on the network between members, in any state.
func (c *Cluster) linkTargets(name string) ([]*member, error) {
	ms, err := c.processTargets(name, toCut)
	if err != nil {
		return nil, err
	}
	if c.opts.Direct {
		return nil, fmt.Errorf("%w: cut or delay the links of %s; start the cluster without Direct", ErrDirect, joinNames(ms))
	}
	if err := checkDialerLookup(); err != nil {
		return nil, errtext.Errorf("cluster: cut or delay the links of %s: %w", joinNames(ms), err)
	}
	return ms, nil
}

// changeNetwork changes the network, and wakes every call that waits for a change.
func (c *Cluster) changeNetwork(f func(*rules)) {
	c.net.change(f)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broadcast()
}

// MoveLeader hands leadership to a member, or with "" to any other that is up.
func (c *Cluster) MoveLeader(ctx context.Context, to string) (*Change, error) {
	return c.runFault(ctx, func(ctx context.Context) (string, error) {
		from, err := c.member(theLeader)
		if err != nil {
			return "", fmt.Errorf("%w, so no member can hand over; restore the quorum first: start, resume or heal", ErrNoLeader)
		}
		target, err := c.successor(from, to)
		if err != nil {
			return "", err
		}
		c.mu.Lock()
		n, id := from.node, target.view.ID
		c.mu.Unlock()
		if n == nil {
			return "", stateError(from.name + " ended meanwhile")
		}
		if err := n.move(ctx, id); err != nil {
			return "", errtext.Errorf("%w: %s did not hand over to %s: %w", ErrNoLeader, from.name, target.name, err)
		}
		bounded, cancel := context.WithTimeout(ctx, settleTimeout)
		defer cancel()
		if err := c.until(bounded, func() bool { return c.quorum().Leader == target.name || target.status != Running }); err != nil {
			return "", errtext.Errorf("%w: %s has handed over, and %s does not lead: %w", ErrNoLeader, from.name, target.name, err)
		}
		return "leadership moved from " + from.name, nil
	})
}

func (c *Cluster) successor(from *member, to string) (*member, error) {
	c.mu.Lock()
	up := c.quorum().up
	c.mu.Unlock()
	if to == "" {
		for _, m := range up {
			if m != from {
				return m, nil
			}
		}
		return nil, fmt.Errorf("%w: no other member is up", ErrNoLeader)
	}
	m, err := c.member(to) // one: not all can lead
	if err != nil {
		return nil, err
	}
	if m == from {
		return nil, stateError(m.name + " leads already")
	}
	if _, err := c.targets(m.name, toLead); err != nil {
		return nil, err
	}
	if !slices.Contains(up, m) {
		return nil, stateError(m.name + " is cut off from the majority; heal first")
	}
	return m, nil
}

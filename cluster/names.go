package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Endpoints are the client addresses, host:port, or https URLs with ClientTLS; of all members,
// in order, whether they run or not.
func (c *Cluster) Endpoints() []string {
	var eps []string
	for _, m := range c.members {
		eps = append(eps, c.endpoint(m))
	}
	return eps
}

func (c *Cluster) endpoint(m *member) string {
	if c.opts.ClientTLS != nil {
		return m.spec.ClientURL
	}
	return m.client.addr
}

// Endpoint is the client address of one member; "leader" and "follower" are names, too.
func (c *Cluster) Endpoint(name string) (string, error) {
	m, err := c.member(name)
	if err != nil {
		return "", err
	}
	return c.endpoint(m), nil
}

// Names are the members', in order.
func (c *Cluster) Names() []string {
	var names []string
	for _, m := range c.members {
		names = append(names, m.name)
	}
	return names
}

// Leader is the leader's name as the majority sees it, or "".
func (c *Cluster) Leader() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quorum().Leader
}

// MemberName is the name of the member that "leader" or "follower" means at this moment; any other member's name
// stays as it is. To undo a fault on "leader", use the name of the member that led.
func (c *Cluster) MemberName(name string) (string, error) {
	m, err := c.member(name)
	if err != nil {
		return "", err
	}
	return m.name, nil
}

const (
	theLeader  = "leader"   // the member that leads now
	aFollower  = "follower" // the first one that is up and does not lead
	allMembers = "all"      // every member that a fault can be done to
)

// member finds a member by name, or by its role at this moment.
func (c *Cluster) member(name string) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.quorum()
	switch name {
	case theLeader:
		name = q.Leader
	case aFollower:
		name = ""
		for _, m := range c.members {
			if slices.Contains(q.up, m) && q.Leader != "" && m.name != q.Leader {
				name = m.name
				break
			}
		}
	case "":
		return nil, &UnknownMemberError{Name: name, Known: append(c.Names(), theLeader, aFollower)}
	}
	if name == "" {
		return nil, fmt.Errorf("%w at this moment; which member instead? (%s)", ErrNoLeader, orList(c.Names()))
	}
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == name })
	if i < 0 {
		return nil, &UnknownMemberError{Name: name, Known: append(c.Names(), theLeader, aFollower)}
	}
	return c.members[i], nil
}

// orList is "a, b or c".
func orList(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/version"
)

// Status of a member.
type Status string

const (
	Starting Status = "starting"
	Running  Status = "running"
	Paused   Status = "paused"  // SIGSTOP: its process exists and does not run
	Stopped  Status = "stopped" // by Stop or Close
	Killed   Status = "killed"  // by Kill
	Failed   Status = "failed"  // ended by itself; Reason says why
)

// State is the cluster at one moment, as its members report themselves.
type State struct {
	Etcd      string        `json:"etcd"`
	Members   []MemberState `json:"members"`
	Quorum    Quorum        `json:"quorum"`
	Endpoints []string      `json:"endpoints"`
	DataDir   string        `json:"data_dir"`
	Temporary bool          `json:"temporary"` // DataDir is removed by Close
}

// MemberState is one member in a State.
type MemberState struct {
	Name   string `json:"name"`
	Status Status `json:"state"`
	// Role is "leader", "follower", or empty while the member is not in a majority. A
	// member that was cut off may believe otherwise for an election timeout (1 s).
	Role    string        `json:"role,omitempty"`
	PID     int           `json:"pid,omitempty"`
	ID      string        `json:"id,omitempty"` // member id in hex, as etcdctl prints it
	Term    uint64        `json:"term,omitempty"`
	Client  string        `json:"client"`
	Peer    string        `json:"peer"`
	CutFrom []string      `json:"cut_from,omitempty"` // members it cannot reach; "clients" for its client port
	Latency time.Duration `json:"latency_ns,omitempty"`
	Dir     string        `json:"dir"`
	Log     string        `json:"log"`
	Reason  string        `json:"reason,omitempty"` // why it Failed
}

// Quorum is what the cluster can still do.
type Quorum struct {
	Size     int    `json:"size"`     // members in all
	Up       int    `json:"up"`       // members of the largest group that run and reach one another
	Starting int    `json:"starting"` // members of that group that start: they serve once there is a majority
	Need     int    `json:"need"`     // a majority
	Leader   string `json:"leader"`   // agreed on by all that are up; "" while they are not

	Running int  `json:"running"` // members that run, also those that are cut off from the largest group
	Paused  int  `json:"paused"`
	Down    int  `json:"down"`          // stopped, killed or failed
	Cut     bool `json:"cut,omitempty"` // links between members are cut
	up      []*member
	term    uint64 // of Leader
}

// Held tells whether a majority is up: whether writes can succeed.
func (q Quorum) Held() bool { return q.Up >= q.Need }

// CanLose is how many more members may fail before writes do.
func (q Quorum) CanLose() int { return max(0, q.Up-q.Need) }

// String is one line for people.
func (q Quorum) String() string {
	switch {
	case !q.Held():
		return "QUORUM LOST: " + q.lost()
	case q.Leader == "":
		return fmt.Sprintf("quorum %d/%d · NO LEADER at this moment, so no writes", q.Up, q.Size)
	}
	return fmt.Sprintf("quorum %d/%d · leader %s · can lose %d more", q.Up, q.Size, q.Leader, q.CanLose())
}

// lost says what is missing, and which calls bring it back.
func (q Quorum) lost() string {
	if q.Running >= q.Need { // enough of them run: the network is at fault
		return fmt.Sprintf("%d/%d run, but no %d of them reach one another · no writes until the network is healed · heal", q.Running, q.Size, q.Need)
	}
	up, back := fmt.Sprintf("%d/%d up", q.Up, q.Size), "1 more is back"
	if q.Starting > 0 {
		up += fmt.Sprintf(", %d starting", q.Starting)
	}
	if missing := q.Need - q.Up - q.Starting; missing > 1 {
		back = fmt.Sprintf("%d more are back", missing)
	} else if missing < 1 {
		back = "they serve"
	}
	text := fmt.Sprintf("%s, %d needed · no writes until %s", up, q.Need, back)
	if how := q.remedies(); how != "" {
		text += " · " + how
	}
	return text
}

// remedies are the calls that bring members back.
func (q Quorum) remedies() string {
	var how []string
	if q.Down > 0 {
		how = append(how, "start")
	}
	if q.Paused > 0 {
		how = append(how, "resume")
	}
	if q.Cut {
		how = append(how, "heal")
	}
	return strings.Join(how, " or ")
}

// State reports the cluster as it is now.
func (c *Cluster) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{
		Etcd: version.Version, Quorum: c.quorum(), Endpoints: c.Endpoints(),
		DataDir: c.data.path, Temporary: c.opts.DataDir == "",
	}
	r := c.net.rules.Load()
	for _, m := range c.members {
		ms := MemberState{
			Name: m.name, Status: m.status, Term: m.view.Term, Client: m.client.addr, Peer: m.peer.addr,
			Latency: r.delay[m.name], Dir: m.spec.Dir, Log: m.spec.LogFile, Reason: m.reason,
		}
		if m.node != nil {
			ms.PID = m.node.pid()
		}
		if m.view.ID != 0 {
			ms.ID = fmt.Sprintf("%x", m.view.ID)
		}
		if slices.Contains(s.Quorum.up, m) && s.Quorum.Leader != "" {
			ms.Role = "follower"
			if m.name == s.Quorum.Leader {
				ms.Role = "leader"
			}
		}
		for _, other := range c.members {
			if r.cut[linkOf(m.name, other.name)] {
				ms.CutFrom = append(ms.CutFrom, other.name)
			}
		}
		if r.cut[linkOf(clients, m.name)] {
			ms.CutFrom = append(ms.CutFrom, clients)
		}
		s.Members = append(s.Members, ms)
	}
	return s
}

// quorum finds the largest group of members that run and reach one another, and the leader
// they agree on. c.mu is held.
func (c *Cluster) quorum() Quorum {
	q := Quorum{Size: len(c.members), Need: len(c.members)/2 + 1}
	q.up = c.largestGroup(func(m *member) bool { return m.status == Running })
	q.Up = len(q.up)
	q.Starting = len(c.largestGroup((*member).started)) - q.Up
	for _, m := range c.members {
		switch m.status {
		case Running:
			q.Running++
		case Paused:
			q.Paused++
		case Stopped, Killed, Failed:
			q.Down++
		}
	}
	for l := range c.net.rules.Load().cut {
		q.Cut = q.Cut || l.a != clients && l.b != clients
	}
	if q.Held() {
		q.Leader, q.term = agreed(q.up)
	}
	return q
}

// largestGroup finds the largest group of members that count and reach one another. c.mu is held.
func (c *Cluster) largestGroup(counts func(*member) bool) []*member {
	var largest []*member
	r := c.net.rules.Load()
	left := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return !counts(m) })
	for len(left) > 0 {
		group := []*member{left[0]}
		left = left[1:]
		for i := 0; i < len(group); i++ {
			left = slices.DeleteFunc(left, func(m *member) bool {
				if r.cut[linkOf(group[i].name, m.name)] {
					return false
				}
				group = append(group, m)
				return true
			})
		}
		if len(group) > len(largest) {
			largest = group
		}
	}
	return largest
}

// started: it runs, or will once it can.
func (m *member) started() bool { return m.status == Running || m.status == Starting }

// agreement is the leader that all members that are up agree on, "" if they do not, and since when.
type agreement struct {
	leader string
	term   uint64
	since  time.Time
}

// recordAgreement records whether the members agree on another leader, or in another term. c.mu is held.
func (c *Cluster) recordAgreement() {
	if q := c.quorum(); q.Leader != c.agreement.leader || q.term != c.agreement.term {
		c.agreement = agreement{q.Leader, q.term, time.Now()}
	}
}

// agreed is the member of the group that all of it follow in one term, or "".
func agreed(group []*member) (leader string, term uint64) {
	for _, m := range group {
		if m.view.Leader == 0 || m.view.Leader != group[0].view.Leader || m.view.Term != group[0].view.Term {
			return "", 0
		}
		if m.view.ID == m.view.Leader {
			leader, term = m.name, m.view.Term
		}
	}
	return leader, term
}

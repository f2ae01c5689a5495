package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ID is that of a cluster or a member: hexadecimal digits for people and in JSON, as etcdctl prints it.
type ID uint64

func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText makes an ID a string in JSON, as numbers of this size are not safe there.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return fmt.Errorf("doctor: id %q: want hexadecimal digits", text)
	}
	*id = ID(n)
	return nil
}

// Role of a member.
type Role string

const (
	// Unknown: the member did not answer, or it knows no leader.
	Unknown  Role = ""
	Leader   Role = "leader"
	Follower Role = "follower"
	// Learner receives everything and does not vote. It is no part of a quorum.
	Learner Role = "learner"
)

// Alarm is one that a member raised. It stays until it is disarmed.
type Alarm struct {
	Member ID
	Kind   string // "NOSPACE" or "CORRUPT"
}

// Cluster is a cluster at one moment, as its members report themselves.
type Cluster struct {
	ID      ID
	Members []Member // in the order of their names; those without one come last

	// Leader is the member that a majority of voters follows, in Term. 0 if there is none.
	Leader ID
	Term   uint64
	// Revision is the highest that a member reports: that of the last change of a key.
	Revision int64

	// Voters is the number of members that vote, Healthy how many of them answer and follow Leader, Quorum how
	// many are necessary, and CanLose how many more may fail before writes do.
	Voters, Healthy, Quorum, CanLose int

	// Alarms are those that any member reports.
	Alarms []Alarm
	// Incomplete says why the list of members could not be read; then Members are only those that the client's
	// endpoints lead to, and Voters may be too low. Empty if it was read.
	Incomplete string
}

// Member is one member, as it reports itself. What follows Reachable is empty if it did not answer.
type Member struct {
	ID         ID
	Name       string // empty while it has never started
	ClientURLs []string
	PeerURLs   []string
	IsLearner  bool

	// Reachable tells whether it answered, Endpoint where, and Problem why not.
	Reachable bool
	Endpoint  string
	Problem   string

	Role           Role
	Version        string
	StorageVersion string // of its data's format; empty before 3.6
	Leader         ID     // the member that it follows; 0 if it knows none
	Term           uint64
	Revision       int64
	RaftIndex      uint64 // committed, as far as it knows
	AppliedIndex   uint64 // of these, applied to its data
	// Lag is how many entries it has yet to apply of those that any member knows to be committed. Members are not asked at exactly the
	// same moment: under load a small lag is usual.
	Lag uint64

	DBSize  int64 // bytes of its database file
	DBInUse int64 // bytes of it that are in use; the rest is freed by defragmenting
	// Quota is the size at which writes are refused; 0 if unknown: etcd reports it since 3.6, and Examine reads it
	// from the metrics of older ones.
	Quota int64

	DowngradeTo string // the version that a downgrade in progress leads to
	Errors      []string
	// RoundTrip is the time of one request to it, over an open connection.
	RoundTrip time.Duration
}

// Label is the member's name, or its ID if it has none, or where it should answer if that is all that is known.
func (m *Member) Label() string {
	switch {
	case m.Name != "":
		return m.Name
	case m.ID == 0 && len(m.ClientURLs) > 0:
		return address(m.ClientURLs[0])
	}
	return m.ID.String()
}

// Started tells whether the member has ever joined: one that was only added has no name and no client URL.
func (m *Member) Started() bool { return m.Name != "" || len(m.ClientURLs) > 0 || m.Reachable }

// QuotaUsed is which part of its quota the member's database takes, from 0 to 1 and a little more; 0 if the quota is not known.
func (m *Member) QuotaUsed() float64 {
	if m.Quota <= 0 {
		return 0
	}
	return float64(m.DBSize) / float64(m.Quota)
}

// HasQuorum tells whether enough voters answer and follow one leader: whether writes can succeed.
func (c *Cluster) HasQuorum() bool { return c.Leader != 0 && c.Healthy >= c.Quorum }

// Member returns the member with that ID, or nil.
func (c *Cluster) Member(id ID) *Member {
	for i := range c.Members {
		if c.Members[i].ID == id {
			return &c.Members[i]
		}
	}
	return nil
}

// Label is the name of the member with that ID, or the ID.
func (c *Cluster) Label(id ID) string {
	if m := c.Member(id); m != nil {
		return m.Label()
	}
	return id.String()
}

// Degraded tells whether anything is wrong that Reasons names.
func (c *Cluster) Degraded() bool { return len(c.Reasons()) > 0 }

// Reasons are why the cluster is degraded, one sentence each, the worst first: no quorum, members that do not
// answer or follow another leader, alarms. A cluster that is small by design is not degraded.
func (c *Cluster) Reasons() []string {
	var reasons []string
	if !c.HasQuorum() {
		reasons = append(reasons, c.noQuorum())
	}
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case !m.Started():
			reasons = append(reasons, m.Label()+" was added and has never started")
		case !m.Reachable:
			reasons = append(reasons, m.Label()+" does not answer: "+m.Problem)
		case m.Leader == 0:
			reasons = append(reasons, m.Label()+" has no leader")
		case c.Leader != 0 && m.Leader != c.Leader:
			reasons = append(reasons, fmt.Sprintf("%s follows %s, the others follow %s", m.Label(), c.Label(m.Leader), c.Label(c.Leader)))
		}
	}
	for _, a := range c.Alarms {
		reasons = append(reasons, fmt.Sprintf("alarm %s on %s", a.Kind, c.Label(a.Member)))
	}
	return reasons
}

// noQuorum says what is missing.
func (c *Cluster) noQuorum() string {
	if !slices.ContainsFunc(c.Members, func(m Member) bool { return m.Reachable }) {
		return "no quorum: no member answers"
	}
	if n := c.answering(); n < c.Quorum {
		return fmt.Sprintf("no quorum: %d of %d voters answer, %d are necessary", n, c.Voters, c.Quorum)
	}
	return fmt.Sprintf("no quorum: %d of %d voters follow the same leader, %d are necessary", c.Healthy, c.Voters, c.Quorum)
}

// answering is how many voters answer.
func (c *Cluster) answering() int {
	return len(c.labels(func(m *Member) bool { return m.Reachable && !m.IsLearner }))
}

// settle computes what the members' answers say together.
func (c *Cluster) settle() {
	slices.SortFunc(c.Members, func(a, b Member) int {
		if (a.Name == "") != (b.Name == "") {
			return len(b.Name) - len(a.Name)
		}
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.ID.String(), b.ID.String())
	})
	var committed uint64
	c.Voters = 0
	for _, m := range c.Members {
		if !m.IsLearner {
			c.Voters++
		}
		committed = max(committed, m.RaftIndex)
		c.Term, c.Revision = max(c.Term, m.Term), max(c.Revision, m.Revision)
	}
	c.Quorum = c.Voters/2 + 1
	c.elect()
	for i := range c.Members {
		m := &c.Members[i]
		if !m.Reachable {
			continue
		}
		m.Lag = committed - min(committed, m.AppliedIndex)
		switch {
		case m.IsLearner:
			m.Role = Learner
		case m.Leader == m.ID && m.ID == c.Leader:
			m.Role = Leader
		case m.Leader != 0 && m.Leader != m.ID:
			m.Role = Follower
		}
	}
	if c.Leader != 0 {
		c.CanLose = max(0, c.Healthy-c.Quorum)
	}
}

// elect finds the leader that most voters follow, the later term if there are two, and how many they are.
func (c *Cluster) elect() {
	type claim struct {
		leader ID
		term   uint64
	}
	votes := make(map[claim]int)
	for _, m := range c.Members {
		if m.Reachable && !m.IsLearner && m.Leader != 0 {
			votes[claim{m.Leader, m.Term}]++
		}
	}
	var best claim
	for one, n := range votes {
		if n > votes[best] || n == votes[best] && one.term > best.term {
			best = one
		}
	}
	c.Healthy = votes[best]
	if c.Healthy >= c.Quorum {
		c.Leader, c.Term = best.leader, best.term
	}
}

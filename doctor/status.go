package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Sentinels for errors.Is. The text names each endpoint and what happened there.
var (
	// ErrUnreachable: no member answered.
	ErrUnreachable = errors.New("doctor: no member answered")
	// ErrDenied: members answered, and none of them lets this user see its status.
	ErrDenied = errors.New("doctor: the user is refused")
)

// deniedAdvice: the changelogs of 3.5.28, 3.5.32, 3.6.9 and 3.6.12 say so.
const deniedAdvice = "; give a user, one with the role root if this one exists (etcd 3.5.28 to 3.5.31 and 3.6.9 to 3.6.11 tell their status to no other)"

// Status asks all members for their state. opts may be nil.
//
// A cluster in trouble is not an error; see Cluster.Reasons. The error is ErrUnreachable if no member answered, ErrDenied if
// members answered and refused the user, and ctx's if it ended first.
func Status(ctx context.Context, cli *clientv3.Client, opts *Options) (*Cluster, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	visits := visitAll(ctx, cli, o.Timeout)
	if err := ctx.Err(); err != nil {
		return nil, errtext.Errorf("doctor: ask the members: %w", err)
	}
	return assemble(visits)
}

// visitAll asks the client's endpoints and, as soon as one of them has listed the members, these at the
// URLs that they advertise.
func visitAll(ctx context.Context, cli *clientv3.Client, timeout time.Duration) []visit {
	defer ask.Of(cli).AllowDials()()
	results := make(chan visit)
	seen, running := make(map[string]bool), 0
	start := func(endpoints []string) {
		for _, endpoint := range endpoints {
			if key := address(endpoint); !seen[key] {
				seen[key] = true
				running++
				go func() { results <- visitOne(ctx, cli, endpoint, timeout) }() // received below
			}
		}
	}
	start(cli.Endpoints())
	var visits []visit
	for ; running > 0; running-- {
		v := <-results
		visits = append(visits, v)
		for _, m := range v.members {
			start(m.ClientURLs)
		}
	}
	return visits
}

// address is equal for endpoints at which the same process listens, as far as their text shows it.
func address(endpoint string) string {
	if scheme, rest, ok := strings.Cut(endpoint, "://"); ok && !strings.HasPrefix(scheme, "unix") {
		endpoint = rest
	}
	return strings.ToLower(strings.TrimSuffix(endpoint, "/"))
}

// assemble makes a Cluster of the answers.
func assemble(visits []visit) (*Cluster, error) {
	listing := latestList(visits)
	c := new(Cluster)
	if listing == nil {
		if err := c.withoutList(visits); err != nil {
			return nil, err
		}
	} else {
		for _, m := range listing.members {
			c.Members = append(c.Members, Member{
				ID: ID(m.ID), Name: m.Name, ClientURLs: m.ClientURLs, PeerURLs: m.PeerURLs, IsLearner: m.IsLearner,
			})
		}
		c.ID = ID(listing.cluster)
	}
	for i := range c.Members {
		c.Members[i].take(visits)
	}
	if !slices.ContainsFunc(c.Members, func(m Member) bool { return m.Reachable }) {
		return nil, noStatus(visits)
	}
	c.takeAlarms()
	c.settle()
	return c, nil
}

// latestList is the answer of the member that has applied most. A member that is behind, or that was removed, can have an old list.
func latestList(visits []visit) *visit {
	var latest *visit
	for i := range visits {
		v := &visits[i]
		if v.members != nil && (latest == nil || v.applied() > latest.applied()) {
			latest = v
		}
	}
	return latest
}

// withoutList takes the members that answered with their status: the list is refused to this user, as etcd 3.4.42 does, or it came
// too late.
func (c *Cluster) withoutList(visits []visit) error {
	for _, v := range visits {
		if v.status == nil || c.Member(v.member()) != nil {
			continue
		}
		c.ID = ID(v.cluster)
		c.Members = append(c.Members, Member{ID: v.member(), ClientURLs: []string{v.endpoint}, IsLearner: v.status.GetIsLearner()})
		c.Incomplete = "the list of members could not be read: " + v.listProblem
	}
	if len(c.Members) == 0 {
		return noStatus(visits)
	}
	return nil
}

// noStatus is the error if no member told its status.
func noStatus(visits []visit) error {
	var lines []string
	is, advice := ErrUnreachable, ""
	for _, v := range visits {
		lines = append(lines, v.endpoint+": "+v.problem)
		if v.denied {
			is, advice = ErrDenied, deniedAdvice
		}
	}
	slices.Sort(lines)
	return fmt.Errorf("%w: %s%s", is, strings.Join(lines, "; "), advice)
}

// take fills in what the member itself answered, at whichever endpoint; or else why there is no answer.
func (m *Member) take(visits []visit) {
	for _, v := range visits {
		if v.status != nil && v.member() == m.ID && (!m.Reachable || v.roundTrip < m.RoundTrip) {
			m.answered(v)
		}
	}
	if m.Reachable {
		return
	}
	var problems []string
	for _, url := range m.ClientURLs {
		for _, v := range visits {
			if address(v.endpoint) != address(url) {
				continue
			}
			problem := v.problem
			if v.status != nil {
				problem = "member " + v.member().String() + " answers there"
			}
			if len(m.ClientURLs) > 1 {
				problem = address(url) + ": " + problem
			}
			problems = append(problems, problem)
		}
	}
	if m.Problem = strings.Join(problems, "; "); m.Problem == "" {
		m.Problem = "it has never started, or advertises no client URL"
	}
}

func (m *Member) answered(v visit) {
	s := v.status
	m.Reachable, m.Endpoint, m.RoundTrip, m.Problem = true, v.endpoint, v.roundTrip, ""
	m.Version, m.StorageVersion = s.GetVersion(), s.GetStorageVersion()
	m.Leader, m.Term, m.Revision = ID(s.GetLeader()), s.GetRaftTerm(), s.GetHeader().GetRevision()
	m.RaftIndex, m.AppliedIndex = s.GetRaftIndex(), s.GetRaftAppliedIndex()
	m.DBSize, m.DBInUse, m.Quota = s.GetDbSize(), s.GetDbSizeInUse(), s.GetDbSizeQuota()
	m.IsLearner = s.GetIsLearner()
	m.Errors = s.GetErrors()
	if d := s.GetDowngradeInfo(); d.GetEnabled() {
		m.DowngradeTo = d.GetTargetVersion()
	}
}

// alarmText is how a status names an alarm, in its errors: the text form of a protobuf message, whose
// spaces vary on purpose. Asking for alarms is no way: the request goes through the log and needs a quorum.
var alarmText = regexp.MustCompile(`memberID:(\d+)\s+alarm:([A-Z]+)`)

func (c *Cluster) takeAlarms() {
	for _, m := range c.Members {
		for _, text := range m.Errors {
			found := alarmText.FindStringSubmatch(text)
			if found == nil {
				continue
			}
			id, err := strconv.ParseUint(found[1], 10, 64)
			if a := (Alarm{ID(id), found[2]}); err == nil && a.Kind != pb.AlarmType_NONE.String() && !slices.Contains(c.Alarms, a) {
				c.Alarms = append(c.Alarms, a)
			}
		}
	}
}

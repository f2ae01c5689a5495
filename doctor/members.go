package doctor

import (
	"fmt"
	"strings"
)

// quorum: can the cluster write?
func (e *examination) quorum() []Finding {
	c := e.after
	if !c.HasQuorum() {
		return []Finding{{
			ID: "quorum", Severity: Problem,
			What: c.noQuorum(),
			Why:  "nothing can be written, leases are not renewed, and only serializable reads are answered",
			Do:   "start the members that are missing, or repair the network between them; if their disks are lost, restore a snapshot, or start one member with --force-new-cluster",
		}}
	}
	if c.Voters == 1 {
		return []Finding{{ID: "quorum", Severity: OK, What: "quorum: the only voter is healthy"}}
	}
	return []Finding{{ID: "quorum", Severity: OK, What: fmt.Sprintf("quorum: %d of %d voters are healthy, %d are necessary", c.Healthy, c.Voters, c.Quorum)}}
}

// leader: do all follow the same?
func (e *examination) leader() []Finding {
	c := e.after
	var lost, others []string
	for i := range c.Members {
		switch m := &c.Members[i]; {
		case !m.Reachable:
		case m.Leader == 0:
			lost = append(lost, m.Label())
		case c.Leader != 0 && m.Leader != c.Leader:
			others = append(others, fmt.Sprintf("%s follows %s", m.Label(), c.Label(m.Leader)))
		}
	}
	var found []Finding
	if len(lost) > 0 && c.answering() >= c.Quorum { // otherwise it is the quorum that is missing
		found = append(found, Finding{
			ID: "no-leader", Severity: Problem, Members: lost,
			What: names(lost) + verb(lost, " has", " have") + " no leader",
			Why:  "a member without a leader cannot reach a majority; clients that ask it wait or read old data",
			Do:   "check the network on the peer port (2380) from and to it, and its log for \"lost leader\" and \"failed to send out heartbeat on time\"",
		})
	}
	if len(others) > 0 {
		found = append(found, Finding{
			ID: "leaders-differ", Severity: Problem,
			What: fmt.Sprintf("members follow different leaders: %s, the majority follows %s", strings.Join(others, ", "), c.Label(c.Leader)),
			Why:  "a part of the cluster is cut off, or belongs to another cluster",
			Do:   "check the network on the peer port (2380); ask again in a few seconds: during an election this passes",
		})
	}
	if changed := e.before.Leader != 0 && c.Leader != 0 && e.before.Term != c.Term; changed {
		found = append(found, Finding{
			ID: "leader-changed", Severity: Warning,
			What: fmt.Sprintf("the leader changed during the examination: term %d became %d", e.before.Term, c.Term),
			Why:  "each election stops writes for about a second; frequent ones come from a slow disk, a slow network or a short heartbeat interval",
			Do:   "watch etcd_server_leader_changes_seen_total, and see the findings about disks and network",
		})
	}
	if len(found) == 0 && c.Leader != 0 {
		found = append(found, Finding{ID: "leader", Severity: OK, What: fmt.Sprintf("leader: %s in term %d, followed by all that answer", c.Label(c.Leader), c.Term)})
	}
	return found
}

// reachable: does each member answer?
func (e *examination) reachable() []Finding {
	c := e.after
	var found []Finding
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case m.Reachable:
		case !m.Started():
			found = append(found, Finding{
				ID: "member-not-started", Severity: Problem, Members: []string{m.Label()},
				What: fmt.Sprintf("member %s was added and has never started (peer URL %s)", m.Label(), strings.Join(m.PeerURLs, ", ")),
				Why:  "it counts in the quorum all the same, so fewer others may fail",
				Do:   "start it with --initial-cluster-state existing, or remove it: etcdctl member remove " + m.ID.String(),
			})
		default:
			found = append(found, Finding{
				ID: "member-unreachable", Severity: Problem, Members: []string{m.Label()},
				What: fmt.Sprintf("%s does not answer at %s: %s", m.Label(), strings.Join(m.ClientURLs, ", "), m.Problem),
				Why:  "it is down, or cut off from this machine; it counts in the quorum all the same",
				Do:   "start it, or check the network; if it is lost for good, remove it (etcdctl member remove " + m.ID.String() + ") and add another",
			})
		}
	}
	if c.Incomplete != "" {
		found = append(found, Finding{
			ID: "members-unknown", Severity: Warning, What: c.Incomplete,
			Why: "only the members at the given endpoints are examined",
			Do:  "give a user with the right to list members (before 3.4.43, 3.5.29 and 3.6.10: root), or the endpoints of all members",
		})
	}
	if len(found) == 0 {
		text := fmt.Sprintf("members: all %d answer", len(c.Members))
		if len(c.Members) == 1 {
			text = "members: the only one answers"
		}
		found = append(found, Finding{ID: "members", Severity: OK, What: text})
	}
	return found
}

// size: how many may fail?
func (e *examination) size() []Finding {
	c := e.after
	switch {
	case c.Voters == 1:
		return []Finding{{
			ID: "single-member", Severity: Warning, What: "the cluster has a single voting member",
			Why: "when it fails there is no etcd, and when its disk fails there is no data",
			Do:  "for anything that must stay up, run three members; take snapshots (etcdctl snapshot save)",
		}}
	case c.Voters%2 == 0:
		return []Finding{{
			ID: "even-voters", Severity: Warning, What: fmt.Sprintf("the cluster has %d voting members, an even number", c.Voters),
			Why: fmt.Sprintf("it can lose no more members than one of %d, and has one more that can fail", c.Voters-1),
			Do:  "add a member, or remove one",
		}}
	case c.HasQuorum() && c.CanLose == 0:
		return []Finding{{
			ID: "no-redundancy", Severity: Warning, What: "the cluster can lose no further member",
			Why: "one more failure, and nothing can be written",
			Do:  "bring the members back that are missing",
		}}
	case c.HasQuorum():
		return []Finding{{ID: "redundancy", Severity: OK, What: fmt.Sprintf("redundancy: the cluster can lose %d of %d members", c.CanLose, c.Voters)}}
	}
	return nil // the quorum is lost, which is said elsewhere
}

// lag: has a member not yet applied what was committed when it was asked for the first time?
func (e *examination) lag() []Finding {
	var committed uint64
	for _, m := range e.before.Members {
		committed = max(committed, m.RaftIndex)
	}
	var found []Finding
	for i := range e.after.Members {
		m := &e.after.Members[i]
		if !m.Reachable || m.AppliedIndex >= committed {
			continue
		}
		f := Finding{
			ID: "member-lagging", Severity: Warning, Members: []string{m.Label()},
			What: fmt.Sprintf("%s is %d entries behind what was committed %v ago", m.Label(), committed-m.AppliedIndex, e.opts.Wait),
			Why:  "its serializable reads and its watches are old, and linearizable reads through it wait",
			Do:   "check its disk and its network (see the other findings), and whether it is receiving a snapshot (its log says so)",
		}
		if m.IsLearner {
			f.ID = "learner-lagging"
			f.Why = "a learner can be promoted only when it has caught up"
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		found = append(found, Finding{ID: "lag", Severity: OK, What: "lag: no member is behind what was committed when the examination began"})
	}
	return found
}

// alarms that members raised.
func (e *examination) alarms() []Finding {
	var found []Finding
	for _, a := range e.after.Alarms {
		f := Finding{ID: "alarm-" + strings.ToLower(a.Kind), Severity: Problem, Members: []string{e.after.Label(a.Member)}}
		switch a.Kind {
		case "NOSPACE":
			f.What = "alarm NOSPACE on " + f.Members[0] + ": its space quota is used up"
			f.Why = "the whole cluster refuses every write, also after space was freed, until the alarm is disarmed"
			f.Do = "delete keys, compact (etcdctl compact REVISION), defragment each member (etcdctl defrag), then etcdctl alarm disarm; or raise --quota-backend-bytes"
		case "CORRUPT":
			f.What = "alarm CORRUPT on " + f.Members[0] + ": its data differs from the other members'"
			f.Why = "members give different answers; etcd refuses requests until it is dealt with"
			f.Do = "remove the member, delete its data directory, and add it again as a new one, so that it copies the data from the others; then etcdctl alarm disarm"
		default:
			f.What = "alarm " + a.Kind + " on " + f.Members[0]
			f.Why = "a member raised it, and it stays until it is disarmed"
			f.Do = "see the member's log, then etcdctl alarm disarm"
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		found = append(found, Finding{ID: "alarms", Severity: OK, What: "alarms: none"})
	}
	return found
}

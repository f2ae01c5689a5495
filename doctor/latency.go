package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// etcd's documentation wants 99 % of the log's fsyncs to take less than 10 ms, and of the backend's commits less
	// than 25 ms ("What does the etcd warning … mean" in its FAQ). Its own alerts begin at 0.5 s and 0.25 s
	// (etcdHighFsyncDurations and etcdHighCommitDurations in contrib/mixin).
	fsyncWarning, fsyncProblem   = 10 * time.Millisecond, 500 * time.Millisecond
	commitWarning, commitProblem = 25 * time.Millisecond, 250 * time.Millisecond
	// peerWarning is etcd's alert etcdMemberCommunicationSlow; a heartbeat has 100 ms by default.
	peerWarning = 150 * time.Millisecond
	// roundTripWarning: a client further away than that pays more for each lock than the lock's work usually takes.
	roundTripWarning = 50 * time.Millisecond
	// fewest observations have a 99th percentile. With fewer during the examination, those since the member's start
	// count; with fewer of these, too, the longest says little about the disk.
	fewest = 100
)

// latency of one kind of work, from the metrics.
type latency struct {
	id, metric, noun string
	warning, problem time.Duration // problem 0: never one
	why, do          string
}

var diskLatencies = []latency{
	{
		id: "fsync", metric: "etcd_disk_wal_fsync_duration_seconds", noun: "fsync of the log",
		warning: fsyncWarning, problem: fsyncProblem,
		why: "every write waits for it on a majority of members, and a leader that waits too long for its disk is replaced: there is an election",
		do:  "give etcd a local SSD that it shares with nothing that writes much; do not put it on network storage",
	},
	{
		id: "backend-commit", metric: "etcd_disk_backend_commit_duration_seconds", noun: "commit to the database",
		warning: commitWarning, problem: commitProblem,
		why: "writes and reads queue up behind it",
		do:  "as for fsync; and see whether the database is large or needs to be defragmented",
	},
}

var peerLatency = latency{
	id: "peer-round-trip", metric: "etcd_network_peer_round_trip_time_seconds", noun: "round trip to its peers",
	warning: peerWarning,
	why:     "heartbeats arrive late, and elections follow",
	do:      "put the members closer together, or raise --heartbeat-interval to the round trip and --election-timeout to ten times that",
}

// disk: how long do disks take?
func (e *examination) disk() []Finding {
	var found []Finding
	unread := make(map[string][]string)
	for i := range e.after.Members {
		if m := &e.after.Members[i]; m.Reachable && e.page(m.ID).metrics == nil {
			unread[e.page(m.ID).problem] = append(unread[e.page(m.ID).problem], m.Label())
		}
	}
	for _, why := range slices.Sorted(maps.Keys(unread)) {
		found = append(found, Finding{
			ID: "metrics", Severity: Info, Members: unread[why],
			What: fmt.Sprintf("the metrics of %s could not be read: %s", names(unread[why]), why),
			Why:  "without them, the latency of the disks and of the network between members is not known; \"commit\" shows their sum",
			Do:   "with --listen-metrics-urls or --listen-client-http-urls they are elsewhere: look at etcd_disk_wal_fsync_duration_seconds there",
		})
	}
	for _, l := range diskLatencies {
		found = append(found, e.latency(l)...)
	}
	return found
}

// network: how long do members take to reach one another, and we them?
func (e *examination) network() []Finding {
	var far, each []string
	for i := range e.after.Members {
		m := &e.after.Members[i]
		if !m.Reachable {
			continue
		}
		best := m.RoundTrip
		if b := e.before.Member(m.ID); b != nil && b.Reachable {
			best = min(best, b.RoundTrip)
		}
		if best >= roundTripWarning {
			far = append(far, m.Label())
		}
		each = append(each, fmt.Sprintf("%s %s", m.Label(), short(best)))
	}
	f := Finding{ID: "round-trip", Severity: OK, What: "round trip from here: " + strings.Join(each, ", ")}
	if len(far) > 0 {
		f.Severity, f.Members = Info, far
		f.Why = "each lock, registration and read takes several of these"
		f.Do = "run clients that coordinate often near a member"
	}
	return append([]Finding{f}, e.latency(peerLatency)...)
}

// latency makes one finding for each member that is slow, and one for all that are not.
func (e *examination) latency(l latency) []Finding {
	var found []Finding
	var fine []string
	for i := range e.after.Members {
		m := &e.after.Members[i]
		all := e.page(m.ID).buckets(l.metric)
		if observations(all) == 0 {
			continue
		}
		period := "since it started"
		if p := e.pages[m.ID]; p != nil && e.later[m.ID] != nil {
			if recent := since(all, p.buckets(l.metric)); observations(recent) >= fewest && observations(recent) < observations(all) {
				all, period = recent, "during the examination"
			}
		}
		p99 := quantile(0.99, all)
		if p99 < l.warning || observations(all) < fewest && p99 < l.problem {
			fine = append(fine, fmt.Sprintf("%s %s", m.Label(), fewText(p99, observations(all))))
			continue
		}
		f := Finding{
			ID: l.id, Severity: Warning, Members: []string{m.Label()},
			What: fmt.Sprintf("%s: the 99th percentile of %s is %s (%d %s); below %v is good", m.Label(), l.noun, short(p99), observations(all), period, l.warning),
			Why:  l.why, Do: l.do,
		}
		if l.problem > 0 && p99 >= l.problem {
			f.Severity = Problem
		}
		found = append(found, f)
	}
	if len(fine) > 0 {
		found = append(found, Finding{ID: l.id, Severity: OK, What: fmt.Sprintf("%s, 99th percentile: %s", l.noun, strings.Join(fine, ", "))})
	}
	return found
}

// fewText is a percentile, and of how many observations if they are few.
func fewText(p99 time.Duration, of int) string {
	if of < fewest {
		return fmt.Sprintf("%s (of %d so far)", short(p99), of)
	}
	return short(p99)
}

// commits: how long does an entry of the log take through the whole cluster?
func (e *examination) commits() []Finding {
	took := slices.Clone(e.leases.commits)
	if len(took) == 0 {
		return nil // e.unmeasured says so
	}
	slices.Sort(took)
	median := took[len(took)/2]
	f := Finding{ID: "commit", Severity: OK, What: fmt.Sprintf("commit: a write takes %s (median of %d grants and revocations of a lease)", short(median), len(took))}
	if median >= peerWarning {
		f.Severity = Warning
		f.Why = "the leader's disk, the network between members, or the load is slow"
		f.Do = "see the findings fsync, backend-commit and peer-round-trip"
	}
	return []Finding{f}
}

// short is a duration with two or three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

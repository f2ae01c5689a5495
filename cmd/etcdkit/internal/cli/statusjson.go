package cli

import (
	"github.com/etcdkit/etcdkit/doctor"
)

// clusterJSON is a cluster as status prints it.
type clusterJSON struct {
	ClusterID  string       `json:"cluster_id"`
	Health     string       `json:"health"` // ok, degraded, no quorum
	Reasons    []string     `json:"reasons"`
	Leader     string       `json:"leader"` // id of the member; "" if there is none
	Term       uint64       `json:"term"`
	Revision   int64        `json:"revision"`
	Voters     int          `json:"voters"`
	Healthy    int          `json:"healthy"`
	Quorum     int          `json:"quorum"`
	CanLose    int          `json:"can_lose"`
	Alarms     []alarmJSON  `json:"alarms"`
	Incomplete string       `json:"incomplete"` // why the list of members could not be read
	Members    []memberJSON `json:"members"`
}

type alarmJSON struct {
	Member string `json:"member"`
	Kind   string `json:"kind"`
}

// memberJSON is a member; what only it can tell is 0 or "" if it did not answer.
type memberJSON struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	Reachable        bool     `json:"reachable"`
	Problem          string   `json:"problem"`
	Endpoint         string   `json:"endpoint"`
	ClientURLs       []string `json:"client_urls"`
	PeerURLs         []string `json:"peer_urls"`
	Role             string   `json:"role"`
	Learner          bool     `json:"learner"`
	Version          string   `json:"version"`
	StorageVersion   string   `json:"storage_version"`
	Leader           string   `json:"leader"`
	Term             uint64   `json:"term"`
	Revision         int64    `json:"revision"`
	RaftIndex        uint64   `json:"raft_index"`
	AppliedIndex     uint64   `json:"applied_index"`
	Lag              uint64   `json:"lag"`
	DBBytes          int64    `json:"db_bytes"`
	DBInUseBytes     int64    `json:"db_in_use_bytes"`
	QuotaBytes       int64    `json:"quota_bytes"` // 0: not known
	DowngradeTo      string   `json:"downgrade_to"`
	Errors           []string `json:"errors"`
	RoundTripSeconds float64  `json:"round_trip_seconds"`
}

func clusterOf(c *doctor.Cluster) clusterJSON {
	j := clusterJSON{
		ClusterID: c.ID.String(), Health: healthWord(c), Reasons: nonNil(c.Reasons()), Leader: memberIDText(c.Leader), Term: c.Term, Revision: c.Revision,
		Voters: c.Voters, Healthy: c.Healthy, Quorum: c.Quorum, CanLose: c.CanLose, Incomplete: c.Incomplete,
		Alarms: []alarmJSON{}, Members: []memberJSON{},
	}
	for _, a := range c.Alarms {
		j.Alarms = append(j.Alarms, alarmJSON{a.Member.String(), a.Kind})
	}
	for _, m := range c.Members {
		j.Members = append(j.Members, memberJSON{
			ID: m.ID.String(), Name: m.Name, Reachable: m.Reachable, Problem: m.Problem, Endpoint: m.Endpoint,
			ClientURLs: nonNil(m.ClientURLs), PeerURLs: nonNil(m.PeerURLs), Role: string(m.Role), Learner: m.IsLearner,
			Version: m.Version, StorageVersion: m.StorageVersion, Leader: memberIDText(m.Leader), Term: m.Term, Revision: m.Revision,
			RaftIndex: m.RaftIndex, AppliedIndex: m.AppliedIndex, Lag: m.Lag,
			DBBytes: m.DBSize, DBInUseBytes: m.DBInUse, QuotaBytes: m.Quota, DowngradeTo: m.DowngradeTo,
			Errors: nonNil(m.Errors), RoundTripSeconds: m.RoundTrip.Seconds(),
		})
	}
	return j
}

// memberIDText is an id, or "" where there is none.
func memberIDText(id doctor.ID) string {
	if id == 0 {
		return ""
	}
	return id.String()
}

// nonNil is a list that is [] in JSON if it is empty.
func nonNil(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coreos/go-semver/semver"
)

// lastUnsupported is the newest minor version that gets no more fixes: 3.4 ended with 3.4.45 (CHANGELOG-3.4.md).
var lastUnsupported = semver.Version{Major: 3, Minor: 4}

// versions: do all members run the same, and one that gets fixes?
func (e *examination) versions() []Finding {
	c := e.after
	byVersion := make(map[string][]string)
	var old, downgrading []string
	downgradeTo := ""
	for i := range c.Members {
		m := &c.Members[i]
		if m.Version == "" {
			continue
		}
		byVersion[m.Version] = append(byVersion[m.Version], m.Label())
		if v, err := semver.NewVersion(m.Version); err == nil && v.Major*1000+v.Minor <= lastUnsupported.Major*1000+lastUnsupported.Minor {
			old = append(old, m.Label())
		}
		if m.DowngradeTo != "" {
			downgrading, downgradeTo = append(downgrading, m.Label()), m.DowngradeTo
		}
	}
	var found []Finding
	if len(old) > 0 {
		found = append(found, Finding{
			ID: "version-unsupported", Severity: Warning, Members: old,
			What: fmt.Sprintf("%s %s a version without support: etcd 3.4 and older get no more fixes", names(old), verb(old, "runs", "run")),
			Why:  "faults that are found from now on stay",
			Do:   "update one minor version at a time: https://etcd.io/docs/latest/upgrades/",
		})
	}
	var each []string
	for _, v := range slices.Sorted(maps.Keys(byVersion)) {
		each = append(each, fmt.Sprintf("%s on %s", v, names(byVersion[v])))
	}
	switch {
	case len(downgrading) > 0:
		found = append(found, Finding{
			ID: "downgrade", Severity: Warning, Members: downgrading, What: fmt.Sprintf("a downgrade to %s is in progress", downgradeTo),
			Why: "until it is finished the cluster has the features of the older version only",
			Do:  "replace the members by the older version one after the other, or end it: etcdctl downgrade cancel",
		})
	case len(byVersion) > 1:
		found = append(found, Finding{
			ID: "version-mixed", Severity: Warning, What: "members run different versions: " + strings.Join(each, ", "),
			Why: "until all are updated the cluster has the features of the oldest, and such mixtures are tested for the time of an update only",
			Do:  "finish the update",
		})
	case len(each) > 0 && len(old) == 0:
		found = append(found, Finding{ID: "version", Severity: OK, What: "version: " + each[0]})
	}
	return found
}

// advisories: does a member run a version with a known fault?
func (e *examination) advisories() []Finding {
	c := e.after
	var found []Finding
	tested := false
	for _, a := range advisories {
		var affected []string
		update := ""
		for i := range c.Members {
			m := &c.Members[i]
			tested = tested || m.Version != ""
			if to, ok := a.Affects(m.Version); ok && (!a.NeedsTLS || hasTLS(m)) {
				affected = append(affected, m.Label())
				update = later(update, to)
			}
		}
		if len(affected) > 0 {
			found = append(found, e.advisory(a, affected, update))
		}
	}
	if len(found) == 0 && tested {
		found = append(found, Finding{ID: "advisories", Severity: OK, What: fmt.Sprintf("known faults: none of the %d in etcdkit's table is in these versions", len(advisories))})
	}
	return found
}

func (e *examination) advisory(a Advisory, affected []string, update string) Finding {
	name := a.ID
	if a.CVE != "" {
		name += ", " + a.CVE
	}
	f := Finding{
		ID: strings.ToLower(a.ID), Severity: Warning, Members: affected,
		What: fmt.Sprintf("%s %s a known fault (%s): %s", names(affected), verb(affected, "has", "have"), name, a.What),
		Why:  "what is built on etcd relies on this: locks, elections, copies of keys",
		Do:   "update to a version that has the fix: " + a.Source,
	}
	if update != "" {
		f.Do = "update to " + update + " or later: " + a.Source
	}
	switch {
	case a.NeedsTLS:
		f.Why = "anyone who can reach the port can stop the member"
	case a.NeedsAuth:
		f.Why = "users and roles do not protect the data"
	}
	switch {
	case a.NeedsAuth && e.leases.auth == authOn:
		f.Severity = Problem
	case a.NeedsAuth && e.leases.auth == authOff:
		f.Severity = Info
		f.What += "; it does not matter while authentication is off"
	}
	return f
}

// later is the newer of two versions, either of which may be "".
func later(a, b string) string {
	if a == "" || b != "" && semver.New(a).LessThan(*semver.New(b)) {
		return b
	}
	return a
}

func hasTLS(m *Member) bool {
	return slices.ContainsFunc(append(slices.Clone(m.ClientURLs), m.PeerURLs...), func(url string) bool { return strings.HasPrefix(url, "https://") })
}

package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-semver/semver"
)

// Advisory is a known fault of server versions.
type Advisory struct {
	// ID is the name under which it is known; CVE another one, if there is.
	ID, CVE string
	// What is the fault, in one sentence.
	What string
	// Fixed maps a minor version to its first release without the fault. "" means that no release of this minor
	// version has the fix. A minor version that is missing is not known to have the fault.
	Fixed map[string]string
	// NeedsAuth: the fault matters only where authentication is on. NeedsTLS: only where members speak TLS.
	NeedsAuth, NeedsTLS bool
	Source              string
}

// advisories were read on 2026-11-30 in etcd's CHANGELOG-3.4.md to CHANGELOG-3.7.md. Where a changelog says nothing of 3.7, as
// the fix was in main before 3.7.0, the fix's commit in main is named: it is in v3.7.0 (git tag --contains).
// 3.4 ended with 3.4.45 (2026-06-01): what was found later has no fix there.
var advisories = []Advisory{
	{
		ID: "GHSA-rfx7-8w68-q57q", CVE: "CVE-2026-33343", NeedsAuth: true,
		What:   "any user can read and write all keys: transactions within transactions bypass the permissions",
		Fixed:  map[string]string{"3.4": "3.4.42", "3.5": "3.5.28", "3.6": "3.6.9", "3.7": "3.7.0"}, // 204097b19
		Source: "https://github.com/etcd-io/etcd/security/advisories/GHSA-rfx7-8w68-q57q",
	},
	{
		ID: "GHSA-q8m4-xhhv-38mg", CVE: "CVE-2026-33413", NeedsAuth: true,
		What:   "without a user's name, anyone can list members, raise and disarm alarms, use leases, and compact",
		Fixed:  map[string]string{"3.4": "3.4.42", "3.5": "3.5.28", "3.6": "3.6.9", "3.7": "3.7.0"}, // a07ecd124
		Source: "https://github.com/etcd-io/etcd/security/advisories/GHSA-q8m4-xhhv-38mg",
	},
	{
		ID: "GHSA-x35m-3gp4-4fh5", CVE: "CVE-2026-44283", NeedsAuth: true,
		What:   "a user can read keys without permission, and attach leases: the previous value and the lease of a Put within a transaction are not checked",
		Fixed:  map[string]string{"3.4": "3.4.44", "3.5": "3.5.30", "3.6": "3.6.11", "3.7": "3.7.0"}, // 70a2b4871
		Source: "https://github.com/etcd-io/etcd/security/advisories/GHSA-x35m-3gp4-4fh5",
	},
	{
		ID: "GHSA-xg4h-6gfc-h4m8", NeedsAuth: true,
		What:   "a user who may read one key can watch every key from that key on",
		Fixed:  map[string]string{"3.4": "", "3.5": "3.5.33", "3.6": "3.6.14", "3.7": "3.7.1"}, // v3.4.45 has the code that the fix changes
		Source: "https://github.com/etcd-io/etcd/security/advisories/GHSA-xg4h-6gfc-h4m8",
	},
	{
		ID: "GHSA-6vch-q96h-7gc3", CVE: "CVE-2026-73500", NeedsTLS: true,
		What:   "connections that never finish the TLS handshake use up a member's memory; no certificate is necessary for that",
		Fixed:  map[string]string{"3.5": "3.5.33", "3.6": "3.6.14", "3.7": "3.7.1"}, // nothing is known of 3.4
		Source: "https://github.com/etcd-io/etcd/security/advisories/GHSA-6vch-q96h-7gc3",
	},
	{
		ID:     "etcd-20418",
		What:   "a linearizable read can return old data after a member was paused, as in a long GC or a frozen virtual machine",
		Fixed:  map[string]string{"3.4": "3.4.42", "3.5": "3.5.28", "3.6": "3.6.9", "3.7": "3.7.0"}, // 9f83a29b3, e2f4f485e
		Source: "https://github.com/etcd-io/etcd/issues/20418",
	},
	{
		ID:     "etcd-20221",
		What:   "a watch from a future revision on, as after a change of the member, can deliver events that the client has already had",
		Fixed:  map[string]string{"3.4": "3.4.38", "3.5": "3.5.22", "3.6": "3.6.2", "3.7": "3.7.0"}, // cf0369e4a, 973847aa2
		Source: "https://github.com/etcd-io/etcd/issues/20221",
	},
	{
		ID:     "etcd-20271",
		What:   "a member's data can be corrupted if it is defragmented while it receives a snapshot from the leader",
		Fixed:  map[string]string{"3.4": "3.4.38", "3.5": "3.5.23", "3.6": "3.6.5", "3.7": "3.7.0"}, // 92897f2d4
		Source: "https://github.com/etcd-io/etcd/pull/20553",
	},
}

// Advisories returns the known faults of server versions. The caller may change what it gets.
func Advisories() []Advisory {
	all := slices.Clone(advisories)
	for i := range all {
		all[i].Fixed = maps.Clone(all[i].Fixed)
	}
	return all
}

// Affects tells whether a version has the fault, and the version that it must be updated to: the first without the fault of the same
// minor version, or of the next one that has a fix.
func (a Advisory) Affects(version string) (update string, affected bool) {
	v, err := semver.NewVersion(strings.TrimPrefix(version, "v"))
	if err != nil {
		return "", false
	}
	fixed, known := a.Fixed[minor(v)]
	if !known {
		return "", false
	}
	if fixed != "" {
		return fixed, v.LessThan(*semver.New(fixed))
	}
	for next := *v; fixed == ""; {
		next.Minor++
		if fixed, known = a.Fixed[minor(&next)]; !known {
			return "", true
		}
	}
	return fixed, true
}

func minor(v *semver.Version) string {
	return strconv.FormatInt(v.Major, 10) + "." + strconv.FormatInt(v.Minor, 10)
}

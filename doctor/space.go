package doctor

import (
	"fmt"
	"strings"
)

const (
	// quotaWarning and quotaProblem are parts of the quota. The second is that of etcd's own alert
	// (etcdDatabaseQuotaLowSpace in contrib/mixin).
	quotaWarning = 0.80
	quotaProblem = 0.95
	// A file of which more than half is free is worth defragmenting from fragmentedSize on (etcdDatabaseHighFragmentationRatio in contrib/mixin).
	fragmented     = 0.5
	fragmentedSize = 100 << 20
)

// space: how much of the quota is used?
func (e *examination) space() []Finding {
	var found []Finding
	var fine, unknown []string
	for i := range e.after.Members {
		m := &e.after.Members[i]
		switch {
		case !m.Reachable:
			continue
		case m.Quota <= 0:
			unknown = append(unknown, m.Label())
			continue
		}
		used := m.QuotaUsed()
		text := fmt.Sprintf("%s uses %s of its quota of %s (%.0f %%)", m.Label(), bytesText(m.DBSize), bytesText(m.Quota), 100*used)
		if used < quotaWarning {
			fine = append(fine, fmt.Sprintf("%s %s of %s", m.Label(), bytesText(m.DBSize), bytesText(m.Quota)))
			continue
		}
		f := Finding{
			ID: "quota", Severity: Warning, Members: []string{m.Label()}, What: text,
			Why: "when one member reaches its quota, the whole cluster refuses writes (alarm NOSPACE)",
			Do:  "compact, and defragment (etcdctl defrag); delete keys that are no longer needed, or raise --quota-backend-bytes",
		}
		if used >= quotaProblem {
			f.Severity = Problem
		}
		found = append(found, f)
	}
	if len(unknown) > 0 {
		found = append(found, Finding{
			ID: "quota-unknown", Severity: Info, Members: unknown, What: "the quota of " + names(unknown) + " is not known",
			Why: "etcd before 3.6 tells it in its metrics only, and they could not be read; or it is turned off with a negative --quota-backend-bytes",
			Do:  "compare the size of the database with --quota-backend-bytes (2 GiB by default)",
		})
	}
	if len(found) == 0 && len(fine) > 0 {
		found = append(found, Finding{ID: "quota", Severity: OK, What: "quota: " + strings.Join(fine, ", ")})
	}
	return found
}

// fragmentation: would defragmenting free much?
func (e *examination) fragmentation() []Finding {
	var found []Finding
	for i := range e.after.Members {
		m := &e.after.Members[i]
		if m.DBSize < fragmentedSize || float64(m.DBInUse) >= fragmented*float64(m.DBSize) {
			continue
		}
		found = append(found, Finding{
			ID: "fragmentation", Severity: Warning, Members: []string{m.Label()},
			What: fmt.Sprintf("%s has a database of %s, of which %s are in use", m.Label(), bytesText(m.DBSize), bytesText(m.DBInUse)),
			Why:  "free space inside of the file counts towards the quota, and makes snapshots and restarts slower",
			Do:   "etcdctl defrag --endpoints=" + m.Endpoint + ", one member after the other and the leader last: a member does not serve meanwhile",
		})
	}
	if len(found) == 0 {
		found = append(found, Finding{ID: "fragmentation", Severity: OK, What: "defragmentation: not necessary"})
	}
	return found
}

// bytesText is a number of bytes for people, in binary units: 20 KiB, 1.5 GiB.
func bytesText(n int64) string {
	units, value := []string{"B", "KiB", "MiB", "GiB", "TiB"}, float64(n)
	for i, unit := range units {
		if value < 1024 || i == len(units)-1 {
			if i > 0 && value < 10 {
				return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + unit
			}
			return fmt.Sprintf("%.0f %s", value, unit)
		}
		value /= 1024
	}
	return ""
}

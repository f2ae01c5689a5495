package doctor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/doctor"
)

// three is a healthy cluster of three members, which change may spoil.
func three(change ...func(*doctor.Member)) *doctor.Cluster {
	c := new(doctor.Cluster)
	for i := range 3 {
		name := fmt.Sprintf("etcd%d", i+1)
		c.Members = append(c.Members, doctor.Member{
			ID: doctor.ID(i + 1), Name: name, Reachable: true, Endpoint: name,
			ClientURLs: []string{"http://127.0.0.1:2379"}, PeerURLs: []string{"http://localhost:2380"},
			Version: "3.7.3", Leader: 1, Term: 2, RaftIndex: 100, AppliedIndex: 100,
			DBSize: 1 << 20, DBInUse: 1 << 20, Quota: 2 << 30, RoundTrip: time.Millisecond,
		})
		for _, f := range change {
			f(&c.Members[i])
		}
	}
	return c.Settle()
}

func only(name string, change func(*doctor.Member)) func(*doctor.Member) {
	return func(m *doctor.Member) {
		if m.Name == name {
			change(m)
		}
	}
}

func TestFindings(t *testing.T) {
	remote := func(m *doctor.Member) {
		m.ClientURLs, m.PeerURLs = []string{"http://10.0.0.1:2379"}, []string{"http://etcd.example:2380"}
	}
	secure := func(m *doctor.Member) {
		m.ClientURLs, m.PeerURLs = []string{"https://10.0.0.1:2379"}, []string{"https://10.0.0.1:2380"}
	}
	all := func(p doctor.Page) map[doctor.ID]doctor.Page { return map[doctor.ID]doctor.Page{1: p, 2: p, 3: p} }
	served := all(doctor.Page{Served: true, Certificate: "not demanded"})
	demanding := all(doctor.Page{Served: true, Certificate: "demanded"})
	unsure := all(doctor.Page{Served: true})
	for name, test := range map[string]struct {
		facts    doctor.Facts
		id       string
		severity doctor.Severity
		what     string
	}{
		"a leader in an older term": {doctor.Facts{After: three(only("etcd3", func(m *doctor.Member) { m.Leader, m.Term = 3, 1 }))}, "leaders-differ", doctor.Problem, "etcd3 follows etcd3, the majority follows etcd1"},
		"a leader is lost":          {doctor.Facts{After: three(only("etcd3", func(m *doctor.Member) { m.Leader = 0 }))}, "no-leader", doctor.Problem, "etcd3 has no leader"},
		"an election":               {doctor.Facts{Before: three(), After: three(func(m *doctor.Member) { m.Term = 5 })}, "leader-changed", doctor.Warning, "term 2 became 5"},
		"lag":                       {doctor.Facts{Before: three(), After: three(only("etcd2", func(m *doctor.Member) { m.AppliedIndex = 40 }))}, "member-lagging", doctor.Warning, "etcd2 is 60 entries behind"},
		"a learner's lag":           {doctor.Facts{Before: three(), After: three(only("etcd2", func(m *doctor.Member) { m.AppliedIndex, m.IsLearner = 40, true }))}, "learner-lagging", doctor.Warning, "etcd2 is 60 entries behind"},
		"a busy moment":             {doctor.Facts{Before: three(func(m *doctor.Member) { m.RaftIndex = 50 }), After: three(only("etcd2", func(m *doctor.Member) { m.AppliedIndex = 99 }))}, "lag", doctor.OK, ""},
		"an alarm": {doctor.Facts{After: func() *doctor.Cluster {
			c := three()
			c.Alarms = []doctor.Alarm{{Member: 2, Kind: "CORRUPT"}}
			return c
		}()}, "alarm-corrupt", doctor.Problem, "alarm CORRUPT on etcd2"},

		"quota at 80 %":   {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.DBSize = 1800 << 20 }))}, "quota", doctor.Warning, "etcd1 uses 1.8 GiB of its quota of 2 GiB (88 %)"},
		"quota at 95 %":   {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.DBSize = 2000 << 20 }))}, "quota", doctor.Problem, "98 %"},
		"no quota known":  {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.Quota = 0 }))}, "quota-unknown", doctor.Info, "etcd1"},
		"quota by metric": {doctor.Facts{After: three(func(m *doctor.Member) { m.Quota = 0 }), Pages: map[doctor.ID]doctor.Page{1: {Metrics: "etcd_server_quota_backend_bytes 1.048576e+06\n"}}}, "quota", doctor.Problem, "etcd1 uses 1 MiB of its quota of 1 MiB"},
		"holes in a file": {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.DBSize, m.DBInUse = 400<<20, 100<<20 }))}, "fragmentation", doctor.Warning, "etcd1 has a database of 400 MiB, of which 100 MiB are in use"},
		"a small file":    {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.DBSize, m.DBInUse = 40<<20, 1<<20 }))}, "fragmentation", doctor.OK, ""},

		"mixed versions":  {doctor.Facts{After: three(only("etcd1", func(m *doctor.Member) { m.Version = "3.7.2" }))}, "version-mixed", doctor.Warning, "3.7.2 on etcd1, 3.7.3 on etcd2 and etcd3"},
		"a downgrade":     {doctor.Facts{After: three(func(m *doctor.Member) { m.DowngradeTo = "3.6.0" })}, "downgrade", doctor.Warning, "a downgrade to 3.6.0"},
		"an old version":  {doctor.Facts{After: three(func(m *doctor.Member) { m.Version = "3.4.45" })}, "version-unsupported", doctor.Warning, "etcd1, etcd2 and etcd3 run a version without support"},
		"a hole, auth on": {doctor.Facts{Auth: "on", After: three(func(m *doctor.Member) { m.Version = "3.6.8" })}, "ghsa-rfx7-8w68-q57q", doctor.Problem, "CVE-2026-33343"},
		"a hole, no auth": {doctor.Facts{Auth: "off", After: three(func(m *doctor.Member) { m.Version = "3.6.8" })}, "ghsa-rfx7-8w68-q57q", doctor.Info, "does not matter while authentication is off"},
		"a hole, unknown": {doctor.Facts{After: three(func(m *doctor.Member) { m.Version = "3.6.8" })}, "ghsa-rfx7-8w68-q57q", doctor.Warning, ""},
		"a hole in one":   {doctor.Facts{Auth: "on", After: three(only("etcd2", func(m *doctor.Member) { m.Version = "3.7.0" }))}, "ghsa-xg4h-6gfc-h4m8", doctor.Problem, "etcd2 has a known fault"},
		"a stale read":    {doctor.Facts{Auth: "off", After: three(func(m *doctor.Member) { m.Version = "3.6.8" })}, "etcd-20418", doctor.Warning, "old data"},

		"open to all":            {doctor.Facts{Auth: "off", Pages: served, After: three(remote)}, "auth-off", doctor.Problem, "can be reached from other machines without a certificate"},
		"open to all with TLS":   {doctor.Facts{Auth: "off", Pages: served, After: three(secure)}, "auth-off", doctor.Problem, "without a certificate"},
		"client certificates":    {doctor.Facts{Auth: "off", Pages: demanding, After: three(secure)}, "auth", doctor.OK, "members demand a client certificate"},
		"certificates, unseen":   {doctor.Facts{Auth: "off", After: three(secure)}, "auth-off", doctor.Warning, "could not be seen"},
		"certificates, unsure":   {doctor.Facts{Auth: "off", Pages: unsure, After: three(secure)}, "auth-off", doctor.Warning, "could not be seen"},
		"loopback without auth":  {doctor.Facts{Auth: "off", Pages: served, After: three()}, "auth", doctor.OK, "from their own machine only"},
		"auth is on":             {doctor.Facts{Auth: "on", Pages: served, After: three(remote)}, "auth", doctor.OK, "on"},
		"plaintext for clients":  {doctor.Facts{Auth: "on", After: three(remote)}, "plaintext-client", doctor.Warning, "etcd1, etcd2 and etcd3 serve clients without TLS"},
		"plaintext for peers":    {doctor.Facts{Auth: "on", After: three(remote)}, "plaintext-peer", doctor.Warning, "without TLS"},
		"TLS":                    {doctor.Facts{Auth: "on", After: three(secure)}, "plaintext", doctor.OK, ""},
		"gateway for every page": {doctor.Facts{Auth: "off", After: three(), Pages: map[doctor.ID]doctor.Page{1: {Served: true, Gateway: true, AnyOrigin: true}}}, "gateway-open", doctor.Warning, "of etcd1 is on"},
		"gateway with auth":      {doctor.Facts{Auth: "on", After: three(), Pages: map[doctor.ID]doctor.Page{1: {Served: true, Gateway: true, AnyOrigin: true}}}, "gateway", doctor.Info, "etcd1"},
		"gateway off":            {doctor.Facts{Auth: "off", After: three(), Pages: served}, "gateway", doctor.OK, "off"},
		"no HTTP":                {doctor.Facts{After: three()}, "gateway-unknown", doctor.Info, ""},

		"a slow disk":          {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{2: {Metrics: histogram("etcd_disk_wal_fsync_duration_seconds", 0.016, 1000)}}}, "fsync", doctor.Warning, "etcd2: the 99th percentile of fsync of the log is 15.9ms (1000 since it started); below 10ms is good"},
		"a very slow disk":     {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{2: {Metrics: histogram("etcd_disk_wal_fsync_duration_seconds", 1.024, 1000)}}}, "fsync", doctor.Problem, "etcd2"},
		"a disk that is new":   {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{2: {Metrics: histogram("etcd_disk_wal_fsync_duration_seconds", 0.016, 10)}}}, "fsync", doctor.OK, "(of 10 so far)"},
		"a slow database":      {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{2: {Metrics: histogram("etcd_disk_backend_commit_duration_seconds", 0.064, 1000)}}}, "backend-commit", doctor.Warning, "etcd2"},
		"far apart":            {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{2: {Metrics: histogram("etcd_network_peer_round_trip_time_seconds", 0.4096, 1000)}}}, "peer-round-trip", doctor.Warning, "etcd2"},
		"far away":             {doctor.Facts{After: three(func(m *doctor.Member) { m.RoundTrip = 80 * time.Millisecond })}, "round-trip", doctor.Info, "etcd1 80ms"},
		"no metrics":           {doctor.Facts{After: three()}, "metrics", doctor.Info, "could not be read"},
		"slow commits":         {doctor.Facts{After: three(), Commits: []time.Duration{time.Second, 300 * time.Millisecond, 200 * time.Millisecond}}, "commit", doctor.Warning, "300ms"},
		"a fast leader":        {doctor.Facts{After: three(), Theirs: 3 * time.Second, Ours: 2900 * time.Millisecond, Within: 10 * time.Millisecond}, "clock-rate", doctor.Warning, "+3.4 %"},
		"a broken clock":       {doctor.Facts{After: three(), Theirs: 3 * time.Second, Ours: 4 * time.Second, Within: 10 * time.Millisecond}, "clock-rate", doctor.Problem, "-25.0 %"},
		"too inexact":          {doctor.Facts{After: three(), Theirs: 3 * time.Second, Ours: 3 * time.Second, Within: 100 * time.Millisecond}, "clock-rate", doctor.Info, "within 3.3 %"},
		"equal clocks":         {doctor.Facts{After: three(), Theirs: 3 * time.Second, Ours: 3001 * time.Millisecond, Within: 6 * time.Millisecond}, "clock-rate", doctor.OK, "-0.0 %"},
		"a wrong wall clock":   {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{3: {Served: true, ClockAhead: -time.Hour, ClockError: time.Second}}}, "wall-clock", doctor.Warning, "etcd3 is 1h0m0s behind this machine"},
		"right wall clocks":    {doctor.Facts{After: three(), Pages: map[doctor.ID]doctor.Page{3: {Served: true, ClockAhead: time.Second, ClockError: time.Second}}}, "wall-clock", doctor.OK, ""},
		"long leases":          {doctor.Facts{After: three(), Minimum: 15 * time.Second}, "lease-minimum", doctor.Warning, "no lease lives shorter than 15s"},
		"usual leases":         {doctor.Facts{After: three(), Minimum: 2 * time.Second}, "lease-minimum", doctor.OK, "2s"},
		"many leases":          {doctor.Facts{After: three(), Leases: 20000}, "lease-count", doctor.Warning, "20000"},
		"leases not permitted": {doctor.Facts{After: three(), Leases: -1}, "lease-count", doctor.Info, ""},
		"a single member":      {doctor.Facts{After: func() *doctor.Cluster { c := three(); c.Members = c.Members[:1]; return c.Settle() }()}, "single-member", doctor.Warning, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := doctor.Judge(test.facts)
			for _, f := range r.Findings {
				if f.ID == test.id {
					if f.Severity == test.severity && strings.Contains(f.What, test.what) {
						return
					}
					t.Logf("got %+v", f)
				}
			}
			t.Errorf("no finding %s of severity %s with %q", test.id, test.severity, test.what)
		})
	}
}

// histogram is one in Prometheus's text format, with all observations in the bucket that ends at most and begins at half of it.
func histogram(name string, most float64, n int) string {
	return fmt.Sprintf("# TYPE %[1]s histogram\n%[1]s_bucket{le=\"%[2]g\"} 0\n%[1]s_bucket{le=\"%[3]g\"} %[4]d\n%[1]s_bucket{le=\"+Inf\"} %[4]d\n%[1]s_sum 1\n%[1]s_count %[4]d\n", name, most/2, most, n)
}

func TestTheWorstFindingsComeFirst(t *testing.T) {
	r := doctor.Judge(doctor.Facts{After: three(only("etcd3", func(m *doctor.Member) { m.Reachable, m.Problem = false, "gone" }), func(m *doctor.Member) { m.Version = "3.4.1" })})
	order := map[doctor.Severity]int{doctor.Problem: 0, doctor.Warning: 1, doctor.Info: 2, doctor.OK: 3}
	at := 0
	for _, f := range r.Findings {
		if order[f.Severity] < at {
			t.Errorf("%s (%s) comes after something less severe", f.ID, f.Severity)
		}
		at = order[f.Severity]
	}
	if r.Worst() != doctor.Problem {
		t.Errorf("the worst is %s", r.Worst())
	}
}

// The leader of a cut-off minority believes in itself for a while.
func TestTheMajoritysLeaderCounts(t *testing.T) {
	c := three(only("etcd1", func(m *doctor.Member) { m.Leader, m.Term = 1, 2 }), only("etcd2", func(m *doctor.Member) { m.Leader, m.Term = 3, 3 }), only("etcd3", func(m *doctor.Member) { m.Leader, m.Term = 3, 3 }))
	if c.Leader != 3 || c.Term != 3 || c.Healthy != 2 || c.CanLose != 0 {
		t.Errorf("got leader %v in term %d, %d healthy", c.Leader, c.Term, c.Healthy)
	}
	if m := c.Member(1); m.Role != doctor.Unknown {
		t.Errorf("the old leader's role: got %q, want none", m.Role)
	}
	if got := c.Reasons(); len(got) != 1 || got[0] != "etcd1 follows etcd1, the others follow etcd3" {
		t.Errorf("got reasons %q", got)
	}
}

func TestALearnerIsNoPartOfTheQuorum(t *testing.T) {
	c := three(only("etcd2", func(m *doctor.Member) { m.IsLearner = true }))
	if c.Voters != 2 || c.Quorum != 2 || c.Healthy != 2 || c.CanLose != 0 || c.Member(2).Role != doctor.Learner {
		t.Errorf("got %+v", c)
	}
}

func TestAnIDIsHexadecimalInJSONAndBack(t *testing.T) {
	text, err := doctor.ID(0xa0123456789abcde).MarshalText()
	if err != nil || string(text) != "a0123456789abcde" {
		t.Errorf("got %s, %v", text, err)
	}
	var back doctor.ID
	if err := back.UnmarshalText(text); err != nil || back != 0xa0123456789abcde {
		t.Errorf("got %x, %v", back, err)
	}
	if err := back.UnmarshalText([]byte("xyz")); err == nil {
		t.Error("xyz was taken for an id")
	}
}

func TestSizesAreLegible(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 20480: "20 KiB", 1536 << 10: "1.5 MiB", 2 << 30: "2 GiB", 5000 << 40: "5000 TiB"} {
		if got := doctor.BytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

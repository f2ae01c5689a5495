package doctor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func find(t *testing.T, r *doctor.Report, id string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no finding %s among %+v", id, r.Findings)
	return doctor.Finding{}
}

func none(t *testing.T, r *doctor.Report, ids ...string) {
	t.Helper()
	for _, f := range r.Findings {
		for _, id := range ids {
			if f.ID == id {
				t.Errorf("finding that should not be there: %+v", f)
			}
		}
	}
}

func examine(t *testing.T, cli *clientv3.Client) *doctor.Report {
	t.Helper()
	r, err := doctor.Examine(within(t, generous), cli, &doctor.Options{Wait: 2 * time.Second})
	if err != nil {
		t.Fatalf("Examine: %v", err)
	}
	return r
}

func TestAHealthyClusterHasNoProblemsAndIsLeftAsItWas(t *testing.T) {
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	before := state(t, cli, nil)
	var steps []string
	r, err := doctor.Examine(within(t, generous), cli, &doctor.Options{Progress: func(step string) { steps = append(steps, step) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Severity == doctor.Problem && f.ID != "fsync" && f.ID != "backend-commit" { // the machine may be busy
			t.Errorf("problem in a healthy cluster: %+v", f)
		}
		if f.ID == "" || f.What == "" || f.Members == nil || f.Severity != doctor.OK && (f.Why == "" || f.Do == "") {
			t.Errorf("finding with a gap: %+v", f)
		}
	}
	for _, id := range []string{"quorum", "leader", "members", "redundancy", "lag", "alarms", "quota", "fragmentation", "version", "advisories", "auth", "plaintext", "gateway", "fsync", "backend-commit", "round-trip", "commit", "clock-rate", "wall-clock", "lease-minimum", "lease-count"} {
		if f := find(t, r, id); id == "clock-rate" && !strings.Contains(f.What, "of ours") {
			t.Errorf("got %+v, want a rate", f)
		}
	}
	if f := find(t, r, "lease-minimum"); !strings.Contains(f.What, "2s") {
		t.Errorf("got %+v, want etcd's default of 2 s", f)
	}
	if r.Cluster.Revision != before.Revision {
		t.Errorf("the revision went from %d to %d: want no key written", before.Revision, r.Cluster.Revision)
	}
	leases, err := cli.Leases(within(t, generous))
	if err != nil || len(leases.Leases) > 0 {
		t.Errorf("leases that are left: %v, %v", leases, err)
	}
	if len(steps) < 4 || steps[0] != "asking the members" {
		t.Errorf("got steps %q", steps)
	}
}

func TestACancelledExaminationLeavesNoLease(t *testing.T) {
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, dev)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := doctor.Examine(ctx, cli, &doctor.Options{Wait: 5 * time.Minute, Progress: func(step string) {
		if strings.HasPrefix(step, "measuring the leader's clock") {
			go func() { // ends with the first lease that it sees
				for ctx.Err() == nil {
					if l, err := cli.Leases(ctx); err == nil && len(l.Leases) > 0 {
						cancel()
					}
				}
			}()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	leases, err := cli.Leases(within(t, generous))
	if err != nil || len(leases.Leases) > 0 {
		t.Errorf("leases that are left: %v, %v", leases, err)
	}
}

func TestAMemberThatIsPausedOrKilledIsAProblem(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	fault(t, dev.Pause, "etcd3")
	r, err := doctor.Examine(within(t, generous), cli, &doctor.Options{Wait: 2 * time.Second, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if f := find(t, r, "member-unreachable"); f.Severity != doctor.Problem || f.Members[0] != "etcd3" || !strings.Contains(f.What, "no answer for 1s") || r.Worst() != doctor.Problem {
		t.Errorf("got %+v", f)
	}
	find(t, r, "no-redundancy")
	if f := find(t, r, "commit"); f.Severity == doctor.Info {
		t.Errorf("got %+v: want it measured, as there is a quorum", f)
	}

	fault(t, dev.Kill, "etcd2")
	eventually(t, cli, "the quorum is lost", func(c *doctor.Cluster) bool { return !c.HasQuorum() && named(t, c, "etcd1").Leader == 0 })
	r, err = doctor.Examine(within(t, generous), cli, &doctor.Options{Wait: 2 * time.Second, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if f := find(t, r, "quorum"); f.Severity != doctor.Problem || !strings.Contains(f.What, "1 of 3 voters answer") {
		t.Errorf("got %+v", f)
	}
	if f := find(t, r, "not-measured"); f.Severity != doctor.Info || !strings.Contains(f.What, "authentication") || !strings.Contains(f.What, "no quorum") {
		t.Errorf("got %+v, want what was not measured for want of a quorum", f)
	}
	none(t, r, "no-redundancy", "redundancy", "no-leader", "commit", "clock-rate", "lease-minimum", "auth-unknown", "auth")
}

func TestNoSpaceIsAProblemAndSaysHowToEndIt(t *testing.T) {
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 4 << 20})
	cli := etcdtest.Client(t, dev)
	value := strings.Repeat("x", 512<<10)
	for {
		_, err := cli.Put(within(t, generous), "filler", value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := eventually(t, cli, "the alarm is raised", func(c *doctor.Cluster) bool { return len(c.Alarms) > 0 })
	if a := c.Alarms[0]; a.Kind != "NOSPACE" || a.Member != c.Members[0].ID || !c.Degraded() || c.Reasons()[0] != "alarm NOSPACE on etcd1" {
		t.Errorf("got %+v, reasons %q", c.Alarms, c.Reasons())
	}
	r := examine(t, cli)
	if f := find(t, r, "alarm-nospace"); f.Severity != doctor.Problem || f.Members[0] != "etcd1" || !strings.Contains(f.Do, "alarm disarm") {
		t.Errorf("got %+v", f)
	}
	if f := find(t, r, "quota"); f.Severity == doctor.OK || !strings.Contains(f.What, "its quota of 4 MiB") {
		t.Errorf("got %+v", f)
	}
	find(t, r, "single-member")
	if f := find(t, r, "not-measured"); !strings.Contains(f.What, "space") || strings.Contains(f.What, "authentication") {
		t.Errorf("got %+v: want that no lease is granted without space", f)
	}
}

func TestAMemberThatWasAddedAndNeverStartedIsAProblem(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	ctx := within(t, generous)
	var added *clientv3.MemberAddResponse
	for { // etcd takes no new member until all have been connected for a few seconds
		var err error
		if added, err = cli.MemberAdd(ctx, []string{"http://127.0.0.1:1"}); err == nil {
			break
		}
		if !errors.Is(err, rpctypes.ErrUnhealthy) {
			t.Fatal(err)
		}
	}
	c := state(t, cli, nil)
	if c.Voters != 4 || c.Quorum != 3 || c.Healthy != 3 || c.CanLose != 0 || !c.Degraded() {
		t.Errorf("got %+v: want four voters of which three are healthy", c)
	}
	last := c.Members[3]
	if last.Name != "" || last.Started() || uint64(last.ID) != added.Member.ID || last.Label() != last.ID.String() {
		t.Errorf("got %+v: want the new member last", last)
	}
	r := examine(t, cli)
	if f := find(t, r, "member-not-started"); f.Severity != doctor.Problem || f.Members[0] != last.ID.String() || !strings.Contains(f.Do, "member remove "+last.ID.String()) {
		t.Errorf("got %+v", f)
	}
	find(t, r, "even-voters")
}

func TestAGatewayThatIsOnIsSeen(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1, Gateway: true})
	if f := find(t, examine(t, etcdtest.Client(t, dev)), "gateway"); f.Severity != doctor.Info || !strings.Contains(f.What, "etcd1 is on") {
		t.Errorf("got %+v, want that the gateway is on", f)
	}
}

func TestAClusterThatIsTornSaysWhoFollowsWhom(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	fault(t, dev.Isolate, "leader")
	c := eventually(t, cli, "two members have a new leader", func(c *doctor.Cluster) bool { return c.Healthy == 2 && c.HasQuorum() })
	if !c.Degraded() || c.CanLose != 0 {
		t.Errorf("got %+v, reasons %q: want a cluster that can lose no more", c, c.Reasons())
	}
}

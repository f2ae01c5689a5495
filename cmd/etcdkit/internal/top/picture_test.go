package top

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/golden"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// example is a cluster with something of everything.
func example() State {
	s := State{Endpoints: []string{"127.0.0.1:2379", "127.0.0.1:22379"}, Rates: Rates{Known: true, Revisions: 3.2, Requests: 1204, Events: 1}}
	s.Cluster = Seen[*doctor.Cluster]{At: now, Value: &doctor.Cluster{
		Leader: 1, Term: 3, Revision: 48213, Voters: 3, Healthy: 2, Quorum: 2,
		Members: []doctor.Member{
			{ID: 1, Name: "etcd1", Reachable: true, Endpoint: "127.0.0.1:2379", Role: doctor.Leader, Leader: 1, Version: "3.7.3", DBSize: 5 << 20, Quota: 2 << 30, RoundTrip: 1234 * time.Microsecond},
			{ID: 2, Name: "etcd2", Reachable: true, Endpoint: "127.0.0.1:22379", Role: doctor.Follower, Leader: 1, Version: "3.7.3", DBSize: 5 << 20, Lag: 12, RoundTrip: 890 * time.Microsecond},
			{ID: 3, Name: "etcd3", ClientURLs: []string{"http://127.0.0.1:32379"}, Problem: "no answer for 2s"},
		},
	}}
	inv := &inventory.Inventory{Revision: 48213}
	inv.Locks = []*lock.Queue{
		{Name: "jobs/backup", Count: 1, Entries: []lock.Entry{{Name: "jobs/backup", Key: "jobs/backup/7a", Status: lock.Holds, Foreign: true, Lease: 0x7a}}},
		{Name: "jobs/nightly", Count: 3, Entries: []lock.Entry{
			{Name: "jobs/nightly", Key: "jobs/nightly/7b-0", Status: lock.Holds, Host: "vm", PID: 7, Command: "worker", Since: now.Add(-90 * time.Second), Lease: 0x7b},
			{Name: "jobs/nightly", Status: lock.Waits}, {Name: "jobs/nightly", Status: lock.Waits},
		}},
		{Name: "slots", Count: 2, Entries: []lock.Entry{
			{Name: "slots", Status: lock.Holds, Host: "vm\033[2J", PID: 8, Command: "w", Since: now.Add(-4200 * time.Millisecond)},
			{Name: "slots", Status: lock.Holds},
		}},
	}
	inv.Elections = []*election.Queue{{Name: "boss\033[2J", Count: 2, Candidates: []election.Candidate{{Value: "10.0.0.1:80\a"}, {}}}}
	inv.Services = []*inventory.Service{
		{Prefix: registry.DefaultPrefix, Name: "api", Instances: []inventory.ServiceInstance{{Instance: registry.Instance{Status: registry.Passing}}}},
		{Prefix: "our/", Name: "web", Instances: []inventory.ServiceInstance{{}, {Instance: registry.Instance{Status: registry.Critical}}, {Instance: registry.Instance{Status: registry.Draining}}}},
	}
	for i := range 20 {
		inv.Leases = append(inv.Leases, &inventory.Lease{
			ID: 0x7a, Granted: 10 * time.Second, Remaining: time.Duration(20-i) * time.Second, ReadAt: now.Add(-time.Second), KeyCount: 1,
			Keys: []inventory.Key{{Key: fmt.Sprintf("cache/%02d", i), Kind: inventory.KindPlain}},
		})
	}
	s.Inventory = Seen[*inventory.Inventory]{Value: inv, At: now}
	return s
}

func draw(s State, v *View, width, height int) string {
	return strings.Join(Canvas{Width: width, Height: height, Now: now}.Picture(s, v), "\n") + "\n"
}

func TestPictures(t *testing.T) {
	away := example()
	away.Cluster.answer(nil, errors.New("doctor: no member answered: 127.0.0.1:2379: connection refused; 127.0.0.1:22379: connection refused"))
	away.Cluster.Since, away.Cluster.At = now.Add(-12*time.Second), now.Add(-14*time.Second)
	noQuorum := example()
	noQuorum.Cluster.Value.Leader, noQuorum.Cluster.Value.Healthy = 0, 0
	noQuorum.Inventory.answer(nil, errors.New("inventory: read: timed out"))
	noQuorum.Inventory.At = now.Add(-14 * time.Second)
	for name, c := range map[string]struct {
		state         State
		view          View
		width, height int
	}{
		"overview":      {example(), View{}, 80, 24},
		"overview-tall": {example(), View{urgent: true}, 100, 40},
		"once":          {example(), View{}, 0, 0},
		"low":           {example(), View{}, 80, 14},
		"leases":        {example(), View{section: leases, urgent: true}, 80, 24},
		"leases-end":    {example(), View{section: leases, offset: 1000}, 80, 24},
		"paused":        {example(), View{section: locks, Paused: true}, 60, 16},
		"away":          {away, View{}, 80, 24},
		"no-quorum":     {noQuorum, View{}, 80, 24},
		"nothing-yet":   {State{Endpoints: []string{"127.0.0.1:2379"}}, View{}, 80, 8},
	} {
		t.Run(name, func(t *testing.T) {
			got := draw(c.state, &c.view, c.width, c.height)
			golden.Check(t, name, got, *update)
			if strings.ContainsAny(got, "\033\a") {
				t.Errorf("text from etcd can command the terminal: %q", got)
			}
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if c.height > 0 && len(lines) != c.height {
				t.Errorf("%d lines, want %d", len(lines), c.height)
			}
			for _, line := range lines {
				if c.width > 0 && out.Width(line) > c.width {
					t.Errorf("%d columns in %q", out.Width(line), line)
				}
			}
		})
	}
}

func TestAViewDoesNotScrollBeyondItsEnd(t *testing.T) {
	v := View{section: leases}
	for range 1000 {
		v.Typed(out.Down)
	}
	draw(example(), &v, 80, 24)
	before := v.offset
	v.Typed(out.Up)
	if v.offset != before-1 || before >= 20 {
		t.Errorf("offset %d, then %d, want one of the 20 rows and the one before", before, v.offset)
	}
}

func TestKeysChangeTheView(t *testing.T) {
	var v View
	for _, c := range []struct {
		key         out.Key
		section     section
		more, pause bool
	}{
		{out.Tab, locks, true, false}, {"5", leases, true, false}, {out.Right, overview, true, false}, {out.Left, leases, true, false},
		{"p", leases, true, true}, {" ", leases, true, true}, {"x", leases, true, false}, {"q", leases, false, false},
		{out.CtrlC, leases, false, false}, {out.Escape, leases, false, false},
	} {
		if more, pause := v.Typed(c.key); more != c.more || pause != c.pause || v.section != c.section {
			t.Errorf("%q: section %d, %v, %v, want %d, %v, %v", c.key, v.section, more, pause, c.section, c.more, c.pause)
		}
	}
}

func TestRatesAreOfWhatBothReadingsHave(t *testing.T) {
	var m meter
	if r := m.read(now, 100, map[doctor.ID]doctor.Counters{1: {Requests: 10, Events: 5}, 2: {Requests: 1000}}); r.Known {
		t.Errorf("a rate of one reading: %+v", r)
	}
	r := m.read(now.Add(2*time.Second), 110, map[doctor.ID]doctor.Counters{1: {Requests: 30, Events: 6}, 2: {Requests: 3}, 3: {Requests: 500}})
	if want := (Rates{true, 5, 10, 0.5}); r != want {
		t.Errorf("got %+v, want %+v: member 2 has started again, and member 3 is new", r, want)
	}
	if r := m.read(now.Add(4*time.Second), 90, nil); r != (Rates{true, 0, -1, -1}) {
		t.Errorf("got %+v, want no rate of requests, and none below 0", r)
	}
}

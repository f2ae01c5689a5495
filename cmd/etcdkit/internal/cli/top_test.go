package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// topLock is a lock in top's JSON.
type topLock struct {
	Name    string
	Holders int
	Entries []struct{ Mode, Command string }
}

func TestTopElsewhereThanOnATerminalPrintsOnePicture(t *testing.T) {
	s := newShell(t)
	id := s.granted(0x7a31, 300)
	s.putOn(s.prefix+"jobs/nightly/7a31-0", `{"nonce":"n","pid":7,"host":"vm","command":"worker"}`, id)
	s.putOn(s.prefix+"services/web/a", `{"Op":0,"Addr":"10.0.0.2:80"}`, id)
	stdout, stderr, code := s.run("top")
	if code != 0 || strings.Contains(stdout, "\033") {
		t.Errorf("exit code %d: %q\n%s", code, stdout, stderr)
	}
	for _, want := range []string{"can lose no member", "leader", "jobs/nightly ", "worker (pid 7 on host vm)", "services/web ", "1 passing", " changes/s"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _, code = s.run("top", "-o", "json")
	var got struct {
		Cluster  struct{ Members []struct{ Reachable bool } }
		Rates    map[string]*float64
		Locks    []topLock
		Leases   []struct{ Lease string }
		Services []struct {
			Service   string
			Instances []struct{ Address string }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, stdout)
	}
	if len(got.Cluster.Members) != 1 || !got.Cluster.Members[0].Reachable || got.Rates["requests_per_second"] == nil || len(got.Locks) == 0 || len(got.Leases) == 0 {
		t.Errorf("got %+v, want a member, rates, locks and leases", got)
	}
	if i := slices.IndexFunc(got.Locks, func(l topLock) bool { return strings.HasPrefix(l.Name, s.prefix) }); i < 0 || got.Locks[i].Holders != 1 || got.Locks[i].Entries[0].Command != "worker" {
		t.Errorf("locks: got %+v, want them as lock ls prints them", got.Locks)
	}
	if len(got.Services) == 0 || got.Services[0].Service == "" || got.Services[0].Instances[0].Address == "" {
		t.Errorf("services: got %+v, want a name and an address", got.Services)
	}
	if _, stderr, code := s.run("top", "--every", "1ms"); code != ExitUsage || !strings.Contains(stderr, "want 500ms or more") {
		t.Errorf("--every 1ms: exit code %d: %s", code, stderr)
	}
}

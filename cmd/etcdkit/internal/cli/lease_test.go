package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lease"
)

// granted grants a lease of this id, so that it can stand in a golden file.
func (s *shell) granted(id, ttl int64) clientv3.LeaseID {
	s.t.Helper()
	if _, err := pb.NewLeaseClient(s.cli.ActiveConnection()).LeaseGrant(s.t.Context(), &pb.LeaseGrantRequest{ID: id, TTL: ttl}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = s.cli.Revoke(ctx, clientv3.LeaseID(id)) // it may be gone
	})
	return clientv3.LeaseID(id)
}

// putOn puts a key on a lease.
func (s *shell) putOn(key, value string, id clientv3.LeaseID) {
	s.t.Helper()
	if _, err := s.cli.Put(s.t.Context(), key, value, clientv3.WithLease(id)); err != nil {
		s.t.Fatal(err)
	}
}

// scrubLeases makes what a lease's time does to the output the same in each run.
func (s *shell) scrubLeases() {
	s.scrub(`(9m5|4m5|5m|5)[0-9]s of`, "LEFT of")
	s.scrub(`[0-9m]+s( +[0-9]+  lock|  +[0-9]+  election|  +[0-9]+  service|  +[0-9]+  key)`, "LEFT$1")
	s.scrub(`(\S)  +`, "$1  ") // a column is as wide as the prefix is long
	s.scrub(`"remaining_seconds":[1-9][0-9]*`, `"remaining_seconds":LEFT`)
	s.scrub(`"(create|mod)_revision":[0-9]+`, `"${1}_revision":REV`)
	s.scrub(`( +)[0-9]+( +[0-9]+  (key|lock|service|election))`, "${1}REV$2")
	s.scrub(`[0-9][0-9]:[0-9][0-9]:[0-9][0-9]`, "TIME")
	s.scrub(`at least 9m5[0-9.]+s left`, "at least LEFT left")
}

func TestLeases(t *testing.T) {
	s := newShell(t)
	s.scrubLeases()
	lock := s.granted(0x7a01, 300)
	s.putOn(s.prefix+"jobs/nightly/7a01-0", `{"nonce":"n","pid":7,"host":"vm","command":"worker"}`, lock)
	leader := s.granted(0x7a02, 400)
	s.putOn(s.prefix+"boss/7a02", "10.0.0.1:80", leader)
	several := s.granted(0x7a03, 600)
	s.putOn(s.prefix+"services/web/a", `{"Op":0,"Addr":"10.0.0.2:80"}`, several)
	for _, name := range []string{"a", "\033[2Jescape", "c"} {
		s.putOn(s.prefix+"cache/"+name, "\033[2J", several)
	}
	s.granted(0x7a04, 60)
	s.golden("lease",
		[]string{"lease", "ls", s.prefix},
		[]string{"lease", "ls", s.prefix + "jobs/", "-o", "json"},
		[]string{"lease", "ls", s.prefix + "none/"},
		[]string{"lease", "ls", s.prefix + "none/", "-o", "json"},
		[]string{"lease", "list", s.prefix, "-o", "value"},
		[]string{"lease", "ls", s.prefix + "boss/", "-o", "template={{.lease}} {{(index .keys 0).holder}}"},
		[]string{"lease", "show", "7a03"},
		[]string{"lease", "show", "0x7A04"},
		[]string{"lease", "show", "7a01", "-o", "json"},
		[]string{"lease", "timetolive", "7a03", "--keys", "-o", "value"},
		[]string{"lease", "show", "7a05"},
		[]string{"lease", "show", "7587862094852145678"},
		[]string{"lease", "show", "1234567890"},
		[]string{"lease", "show", "web"},
		[]string{"lease", "show"},
		[]string{"lease", "keep-alive", "7a01", "--once"},
		[]string{"lease", "keep-alive", "7a05"},
		[]string{"lease", "revoke", "7a03"},
		[]string{"lease", "revoke", "7a03", "7a05", "--yes"},
		[]string{"lease", "revoke", "7a03", "7a04", "--yes"},
		[]string{"lease", "show", "7a03"},
		[]string{"lease", "watch", "7a03"},
		[]string{"lease", "grant"},
		[]string{"lease", "grant", "0"},
		[]string{"lease", "grant", "-5"},
		[]string{"lease", "grant", "1.5s"},
		[]string{"lease", "grant", "soon"},
		[]string{"lease", "grant", "9000000001"},
		[]string{"lease", "ls", "--limit", "0"},
		[]string{"lease", "sow", "7a03"},
	)
}

func TestALeaseIsGrantedForSecondsOrForADuration(t *testing.T) {
	s := newShell(t)
	for ttl, want := range map[string]time.Duration{"60": time.Minute, "1m30s": 90 * time.Second, "5m": 5 * time.Minute} {
		stdout, stderr, code := s.run("lease", "grant", ttl, "-o", "value")
		stdout = strings.TrimSuffix(stdout, "\n")
		id, err := leaseID(stdout)
		if code != 0 || err != nil {
			t.Fatalf("%s: exit code %d, %q: %s", ttl, code, stdout, stderr)
		}
		l, err := inventory.Lookup(t.Context(), s.cli, id, nil)
		if err != nil || l.Granted != want {
			t.Errorf("%s: got %+v, %v, want a TTL of %v", ttl, l, err, want)
		}
		if stdout, _, code := s.run("lease", "revoke", "--yes", stdout); code != 0 || stdout != fmt.Sprintf("lease %x revoked, with 0 keys\n", int64(id)) {
			t.Errorf("revoke: exit code %d, %q", code, stdout)
		}
	}
	stdout, stderr, _ := s.run("lease", "grant", "1")
	if !strings.Contains(stdout, "TTL 2s") || !strings.Contains(stderr, "minimum") {
		t.Errorf("a TTL below the minimum: got %q and %q, want that it is 2s, and why", stdout, stderr)
	}
}

func TestAWatchedLeaseSaysWhyItEnded(t *testing.T) {
	s := newShell(t)
	s.granted(0x7a11, 2)
	stdout, _, code := s.run("lease", "watch", "7a11")
	if code != 0 || !strings.Contains(stdout, " of 2s left\n") || !strings.HasSuffix(stdout, "lease 7a11 expired: it was not renewed within its 2s\n") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	id := s.granted(0x7a12, 600)
	ended := make(chan string, 1)
	go func() { // received below
		stdout, _, code := s.run("lease", "watch", "7a12", "-o", "jsonl")
		ended <- fmt.Sprint(code, " ", stdout)
	}()
	for l, err := range lease.Follow(t.Context(), s.cli, id) { // the other one has begun when this one has looked twice, and if not, it finds none
		if err != nil {
			t.Fatal(err)
		}
		if l.Remaining < 598*time.Second {
			break
		}
	}
	if _, err := s.cli.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got := <-ended
	if !strings.HasPrefix(got, "0 ") || !strings.Contains(got, `"event":"remaining"`) || !strings.Contains(got, `"event":"revoked"`) {
		t.Errorf("got exit code and output %s, want 0, what remains, and that it was revoked", got)
	}
}

func TestAKeptLeaseThatIsRevokedEndsTheCommand(t *testing.T) {
	s := newShell(t)
	id := s.granted(0x7a21, 3)
	renewed := make(chan struct{})
	ended := make(chan string, 1)
	go func() { // received below
		_, stderr, code := s.run("lease", "keep-alive", "7a21")
		ended <- fmt.Sprint(code, " ", stderr)
	}()
	go func() { // ends with the lease, or with a renewal
		defer close(renewed)
		for l, err := range lease.Follow(t.Context(), s.cli, id) {
			if err != nil || l.Renewed {
				return
			}
		}
	}()
	<-renewed
	if _, err := s.cli.Revoke(t.Context(), id); err != nil {
		t.Fatalf("it was not kept: %v", err)
	}
	if got := <-ended; !strings.HasPrefix(got, "3 ") || !strings.Contains(got, "7a21") {
		t.Errorf("got exit code and message %q, want 3 and the lease", got)
	}
}

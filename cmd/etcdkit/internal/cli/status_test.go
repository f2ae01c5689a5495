package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// newClusterShell is a shell on a cluster of its own.
func newClusterShell(t *testing.T, c *cluster.Cluster) *shell {
	t.Helper()
	s := newShell(t)
	t.Setenv("ETCDKIT_ENDPOINTS", strings.Join(c.Endpoints(), ","))
	s.scrub(`127\.0\.0\.1:\d+ *`, "HOST:PORT ")
	s.scrub(`(leader|follower) +HOST`, "ROLE  HOST") // which of them leads is left to the election
	s.scrub(`ROLE +ENDPOINT +`, "ROLE  ENDPOINT  ")
	s.scrub(`-  +HOST`, "-     HOST")
	s.scrub(`leader etcd\d`, "leader MEMBER")
	s.scrub(`PORT +\d+ +\d+ +[0-9.]+ [KM]iB +(\d) ([GM])iB +[0-9.]+(µs|ms|s) `, "PORT  TERM  LAG  SIZE  $1 ${2}iB  TOOK ")
	s.scrub(`PORT +- +- +- +- +- `, "PORT  -  -  -  -  - ")
	s.scrub(`TERM  LAG +DB  QUOTA +TOOK`, "TERM  LAG  DB  QUOTA  TOOK")
	s.scrub(regexp.QuoteMeta(c.State().Etcd), "X.Y.Z")
	return s
}

func faultAt(t *testing.T, fault func(context.Context, string) (*cluster.Change, error), member string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := fault(ctx, member); err != nil {
		t.Fatal(err)
	}
}

// untilStatus runs status until its output as JSON is as is wants it.
func (s *shell) untilStatus(what string, is func(clusterJSON) bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		var c clusterJSON
		stdout, stderr, _ := s.run("status", "-o", "json", "--timeout", "1s")
		if err := json.Unmarshal([]byte(stdout), &c); err != nil {
			s.t.Fatalf("%v: %q, %s", err, stdout, stderr)
		}
		if is(c) {
			return
		}
	}
	s.t.Fatalf("never: %s", what)
}

func TestStatusOfAClusterThatLosesItsMembers(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	s := newClusterShell(t, c)
	s.golden("status-healthy", []string{"status"}, []string{"status", "-o", "value"},
		[]string{"status", "-o", "template={{.health}}, {{.healthy}} of {{.voters}} voters, can lose {{.can_lose}}{{range .members}}, {{.name}} {{.reachable}}{{end}}"})
	faultAt(t, c.Pause, "etcd3")
	s.untilStatus("two follow a leader", func(j clusterJSON) bool { return j.Healthy == 2 && j.Health == "degraded" })
	s.golden("status-degraded", []string{"status", "--timeout", "1s"}, []string{"status", "--timeout", "1s", "-o", "value"})
	faultAt(t, c.Pause, "etcd2")
	s.untilStatus("the quorum is lost", func(j clusterJSON) bool { return j.Health == "no quorum" && j.Members[0].Leader == "" })
	s.golden("status-no-quorum", []string{"status", "--timeout", "1s"}, []string{"status", "--timeout", "1s", "-o", "template={{.health}}: {{index .reasons 0}}"})
	if !means.Race { // the member that is left has a second to answer
		commandsWithoutAQuorum(t)
	}
	faultAt(t, c.Pause, "etcd1")
	s.scrub(`within [0-9.]+m?s`, "within TIME")
	s.golden("status-no-answer", []string{"status", "--timeout", "500ms"}, []string{"status", "--timeout", "500ms", "-o", "template={{.health}}: {{index .reasons 0}}"},
		[]string{"get", "a", "--dial-timeout", "500ms"})
}

// Each ends when etcd has been silent for --dial-timeout, and names the cause.
func commandsWithoutAQuorum(t *testing.T) {
	t.Helper()
	var running sync.WaitGroup
	defer running.Wait()
	atATime := make(chan struct{}, 10) // all of them at once keep the member that is left from answering in time
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(`{"etcdkit_export":1,"cluster_id":"1","revision":1,"prefix":"","count":1}`+"\n"+`{"key":"a","value":"1"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"get", "a"}, {"get", "a", "--prefix"}, {"put", "a", "1"}, {"ls"}, {"tree"}, {"history", "a"}, {"undelete", "a"}, {"del", "a"},
		{"lock", "ls"}, {"lock", "show", "x"}, {"lock", "acquire", "x"}, {"lock", "revoke", "x", "--yes"},
		{"elect", "ls"}, {"elect", "get", "x"}, {"elect", "watch", "x"}, {"elect", "resign", "x"},
		{"svc", "ls"}, {"svc", "get", "web"}, {"svc", "watch", "web"}, {"svc", "maint", "web", "1", "on"}, {"svc", "deregister", "web", "1", "--yes"},
		{"lease", "ls"}, {"lease", "show", "1234"}, {"lease", "grant", "60"}, {"lease", "revoke", "1234"}, {"lease", "keep-alive", "1234"}, {"lease", "watch", "1234"},
		{"export", ""}, {"import", file}, {"copy", "a/", "b/"}, {"snapshot", "save", file + ".db"},
	} {
		atATime <- struct{}{}
		running.Go(func() {
			defer func() { <-atATime }()
			var stdout, stderr bytes.Buffer
			began := time.Now()
			code := Run(t.Context(), append(args, "--dial-timeout", "2s"), strings.NewReader(""), &stdout, &stderr)
			took, text := time.Since(began), stderr.String()
			if code != ExitUnreachable || stdout.Len() > 0 || took > 6*time.Second {
				t.Errorf("%q: got exit code %d and %q after %v, want %d and nothing soon", args, code, stdout.String(), took, ExitUnreachable)
			}
			if !strings.HasPrefix(text, "etcdkit: no quorum: 1 of 3 members answer (etcd1 at 127.0.0.1:") || !strings.HasSuffix(text, " status\n") || strings.Count(text, "\n") != 1 {
				t.Errorf("%q: got %q, want that there is no quorum, and how to see more", args, text)
			}
			unsure := map[string]string{"put": "it may have been written all the same", "del": "it may have been deleted all the same", "import": "may still be written later"}[args[0]]
			if !strings.Contains(text, unsure) || args[0] == "get" && strings.Contains(text, "; it may") {
				t.Errorf("%q: got %q, want %q in it", args, text, unsure)
			}
		})
	}
}

func TestStatusOfASingleMemberWithoutSpace(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 4 << 20})
	s := newClusterShell(t, c)
	cli := etcdtest.Client(t, c)
	value := strings.Repeat("x", 512<<10)
	var err error
	for err == nil {
		_, err = cli.Put(t.Context(), "filler", value)
	}
	s.untilStatus("the alarm is raised", func(j clusterJSON) bool { return len(j.Alarms) == 1 })
	s.scrub(`uses \d+ %`, "uses N %")
	s.golden("status-no-space", []string{"status"})
	if stdout, _, code := s.run("doctor", "--wait", "2s", "-o", "value"); code != ExitDegraded || !strings.HasPrefix(stdout, "alarm-nospace\n") {
		t.Errorf("doctor: got exit code %d, %q, want the alarm first", code, stdout)
	}
}

func TestWhatMembersSayOfThemselvesIsHarmlessOnATerminal(t *testing.T) {
	c := &doctor.Cluster{Voters: 1, Quorum: 1, Members: []doctor.Member{{ID: 1, Name: "etcd\x1b[31m", Problem: "gone\n\x1b[2J", ClientURLs: []string{"http://\x1bx"}}}}
	stdout, _ := printedBy(t, func(a *app) error {
		var f = anyFormat()
		if err := a.printStatus(f, c); err != nil {
			return err
		}
		return a.printReport(&doctor.Report{Cluster: c, Findings: []doctor.Finding{{ID: "x", Severity: doctor.Problem, What: "\x1b[31m", Why: "\x07", Do: "\x1b"}}})
	})
	if strings.ContainsAny(stdout, "\x1b\x07") || !strings.Contains(stdout, `etcd\x1b[31m`) {
		t.Errorf("got %q", stdout)
	}
}

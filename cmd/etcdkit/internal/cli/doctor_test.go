package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/golden"
)

func anyFormat() out.Format {
	return out.NewFormat(out.Table, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
}

// printedBy is what do prints, and its error.
func printedBy(t *testing.T, do func(a *app) error) (stdout string, err error) {
	t.Helper()
	var text bytes.Buffer
	err = do(&app{out: out.New(&text, &text)})
	return text.String(), err
}

func someFindings() []doctor.Finding {
	return []doctor.Finding{
		{ID: "member-unreachable", Severity: doctor.Problem, Members: []string{"etcd3"}, What: "etcd3 does not answer at http://10.0.0.3:2379: connection refused", Why: "it is down, or cut off from this machine; it counts in the quorum all the same", Do: "start it, or check the network; if it is lost for good, remove it (etcdctl member remove c6f9fed5ce1672f2) and add another"},
		{ID: "no-redundancy", Severity: doctor.Warning, Members: []string{}, What: "the cluster can lose no further member", Why: "one more failure, and nothing can be written", Do: "bring the members back that are missing"},
		{ID: "space", Severity: doctor.Warning, Members: []string{"etcd1"}, What: "etcd1: half of the database is free", Why: "the file does not shrink by itself", Do: "etcdctl defrag --endpoints=a"},
		{ID: "space", Severity: doctor.Warning, Members: []string{"etcd2"}, What: "etcd2: half of the database is free", Why: "the file does not shrink by itself", Do: "etcdctl defrag --endpoints=b"},
		{ID: "clock", Severity: doctor.Info, Members: []string{"etcd1"}, What: "etcd1: slow clock", Why: "leases", Do: "see to it"},
		{ID: "clock", Severity: doctor.Info, Members: []string{"etcd2"}, What: "etcd2: slow clock", Why: "leases", Do: "see to it"},
		{ID: "gateway", Severity: doctor.Info, Members: []string{"etcd1"}, What: "the JSON gateway of etcd1 is on", Why: "it is one more way in", Do: "if nothing uses it: --enable-grpc-gateway=false"},
		{ID: "alarms", Severity: doctor.OK, Members: []string{}, What: "alarms: none"},
		{ID: "version", Severity: doctor.OK, Members: []string{}, What: "version: 3.7.3 on etcd1 and etcd2"},
	}
}

func TestAReportIsPrintedInEachFormat(t *testing.T) {
	for format, name := range map[string]string{"table": "report", "json": "report-json", "jsonl": "report-jsonl", "value": "report-value", "template={{.severity}} {{.id}}": "report-template"} {
		f := anyFormat()
		if err := f.Set(format); err != nil {
			t.Fatal(err)
		}
		got, err := printedBy(t, func(a *app) error {
			if f.Is(out.Table) {
				return a.printReport(&doctor.Report{Findings: someFindings()})
			}
			return a.printFindings(f, someFindings())
		})
		if err != nil {
			t.Errorf("%s: %v", format, err)
		}
		golden.Check(t, name, got, *update)
	}
}

func TestDoctorsExitCodeSaysWhetherThereAreProblems(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	s := newClusterShell(t, c)
	ids := func(args ...string) (map[string]doctor.Severity, int) {
		t.Helper()
		stdout, stderr, code := s.run(append([]string{"doctor", "--wait", "2s", "--timeout", "1s", "-o", "jsonl"}, args...)...)
		found, problem := make(map[string]doctor.Severity), false
		for line := range strings.Lines(stdout) {
			var f doctor.Finding
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			found[f.ID] = f.Severity
			problem = problem || f.Severity == doctor.Problem
		}
		if stderr != "" || (code == ExitDegraded) != problem || code != 0 && code != ExitDegraded {
			t.Errorf("got exit code %d, stderr %q, and %v", code, stderr, found)
		}
		return found, code
	}
	if found, _ := ids(); found["quorum"] != doctor.OK || found["members"] != doctor.OK || found["commit"] == "" {
		t.Errorf("a healthy cluster: got %v", found)
	}
	faultAt(t, c.Pause, "etcd3")
	if found, code := ids(); code != ExitDegraded || found["member-unreachable"] != doctor.Problem || found["quorum"] != doctor.OK {
		t.Errorf("a member is paused: got exit code %d, %v", code, found)
	}
	stdout, _, code := s.run("doctor", "--wait", "2s", "--timeout", "1s")
	if code != ExitDegraded || !strings.HasPrefix(stdout, "Problems\n  etcd3 does not answer at http://127.0.0.1:") || !strings.Contains(stdout, "\nFine\n") || !strings.HasSuffix(stdout, " fine\n") {
		t.Errorf("for people: got exit code %d and\n%s", code, stdout)
	}
}

func TestDoctorAndStatusRefuseWhatTheyCannotDo(t *testing.T) {
	s := newShell(t)
	addr := etcdtest.Addr(t)
	s.scrub(addr, "HOST:PORT")
	s.golden("doctor-refusals", []string{"doctor", "--wait", "1s"}, []string{"doctor", "now"}, []string{"doctor", "-o", "yaml"},
		[]string{"status", "--timeout", "-1s"}, []string{"status", "etcd1"},
		[]string{"status", "--endpoints", addr, "--dial-timeout", "500ms"}, []string{"doctor", "--endpoints", addr, "--dial-timeout", "500ms"})
}

package doctor_test

import (
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/doctor"
)

// One line for each row of the table: the last release with the fault, and the first without it.
func TestEachAdvisoryBeginsAndEndsWithTheRightRelease(t *testing.T) {
	rows := map[string][][3]string{ // the last version that is affected, the first that is not, the update
		"GHSA-rfx7-8w68-q57q": {{"3.4.41", "3.4.42"}, {"3.5.27", "3.5.28"}, {"3.6.8", "3.6.9"}, {"3.7.0-alpha.0", "3.7.0"}},
		"GHSA-q8m4-xhhv-38mg": {{"3.4.41", "3.4.42"}, {"3.5.27", "3.5.28"}, {"3.6.8", "3.6.9"}, {"3.7.0-alpha.0", "3.7.0"}},
		"GHSA-x35m-3gp4-4fh5": {{"3.4.43", "3.4.44"}, {"3.5.29", "3.5.30"}, {"3.6.10", "3.6.11"}, {"3.7.0-alpha.0", "3.7.0"}},
		"GHSA-xg4h-6gfc-h4m8": {{"3.4.45", "", "3.5.33"}, {"3.5.32", "3.5.33"}, {"3.6.13", "3.6.14"}, {"3.7.0", "3.7.1"}},
		"GHSA-6vch-q96h-7gc3": {{"3.5.32", "3.5.33"}, {"3.6.13", "3.6.14"}, {"3.7.0", "3.7.1"}},
		"etcd-20418":          {{"3.4.41", "3.4.42"}, {"3.5.27", "3.5.28"}, {"3.6.8", "3.6.9"}, {"3.7.0-alpha.0", "3.7.0"}},
		"etcd-20221":          {{"3.4.37", "3.4.38"}, {"3.5.21", "3.5.22"}, {"3.6.1", "3.6.2"}, {"3.7.0-alpha.0", "3.7.0"}},
		"etcd-20271":          {{"3.4.37", "3.4.38"}, {"3.5.22", "3.5.23"}, {"3.6.4", "3.6.5"}, {"3.7.0-alpha.0", "3.7.0"}},
	}
	for _, a := range doctor.Advisories() {
		row, ok := rows[a.ID]
		if !ok {
			t.Errorf("%s has no line in this test", a.ID)
		}
		if len(row) != len(a.Fixed) {
			t.Errorf("%s: %d minor versions in this test, %d in the table", a.ID, len(row), len(a.Fixed))
		}
		delete(rows, a.ID)
		if a.What == "" || !strings.HasPrefix(a.Source, "https://github.com/etcd-io/etcd/") {
			t.Errorf("%s: want a sentence and a source: %+v", a.ID, a)
		}
		for _, r := range row {
			last, first, update := r[0], r[1], r[2]
			if update == "" {
				update = first
			}
			if got, affected := a.Affects(last); !affected || got != update {
				t.Errorf("%s: %s: got %v, update to %q; want that it is affected, and %q", a.ID, last, affected, got, update)
			}
			if _, affected := a.Affects(first); affected {
				t.Errorf("%s: %s is affected, want that it has the fix", a.ID, first)
			}
		}
		for _, other := range []string{"3.8.0", "4.0.0", "3.3.27", "", "nonsense", "v3.7.3"} {
			if _, affected := a.Affects(other); affected {
				t.Errorf("%s: %q counts as affected, of which nothing is known", a.ID, other)
			}
		}
	}
	for id := range rows {
		t.Errorf("%s is in this test and not in the table", id)
	}
}

func TestOneAdviceCoversAllMembersThatAnAdvisoryAffects(t *testing.T) {
	c := three(only("etcd1", func(m *doctor.Member) { m.Version = "3.5.9" }), only("etcd2", func(m *doctor.Member) { m.Version = "3.6.0" }))
	f := find(t, doctor.Judge(doctor.Facts{After: c, Auth: "on"}), "ghsa-q8m4-xhhv-38mg")
	if len(f.Members) != 2 || !strings.HasPrefix(f.Do, "update to 3.6.9 or later: https://") || !strings.HasPrefix(f.What, "etcd1 and etcd2 have a known fault") {
		t.Errorf("got %+v", f)
	}
}

func TestACallerMayChangeTheAdvisoriesThatItGets(t *testing.T) {
	first := doctor.Advisories()[0]
	want := len(first.Fixed)
	clear(first.Fixed)
	if got := len(doctor.Advisories()[0].Fixed); got != want {
		t.Errorf("after a caller cleared its copy, %s is fixed in %d minor versions, want %d", first.ID, got, want)
	}
}

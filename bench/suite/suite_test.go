package suite

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func job() *Job {
	return &Job{Name: "j", Picture: "visible", Rows: []Row{{Name: "visible"}, {Name: "read"}, {Name: "heap"}}}
}

func TestAWrongCommandLineExits2WithNothingStarted(t *testing.T) {
	for args, want := range map[string]string{
		"-o yaml":                      "want table, markdown or json",
		"-only visible,nothing":        "want some of visible,read,heap",
		"-only heap -svg x.svg":        "-svg draws the visible row: add it to -only",
		"-svg no/such/directory/x.svg": "is not a directory",
		"-quik":                        "-quik",
		"everything":                   `unexpected argument "everything"`,
	} {
		var out, talk bytes.Buffer
		if code := job().Run(t.Context(), strings.Fields(args), &out, &talk); code != 2 {
			t.Errorf("%s: exit code %d, want 2", args, code)
		}
		if out.Len() > 0 || !strings.Contains(talk.String(), want) {
			t.Errorf("%s: stdout %q, stderr %q, want there %q", args, out.String(), talk.String(), want)
		}
	}
}

func TestRowsRunInTheOrderOfTheTable(t *testing.T) {
	s, err := job().parse(strings.Fields("-only heap,visible -o json"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range s.rows {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"visible", "heap"}) {
		t.Errorf("-only heap,visible: got %q, want them in the order of the run", names)
	}
}

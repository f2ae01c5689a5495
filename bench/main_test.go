package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestJobsAreNamed(t *testing.T) {
	for _, c := range []struct {
		args        []string
		code        int
		out, stderr string
	}{
		{nil, 2, "", "name a job"},
		{[]string{"service"}, 2, "", `unknown job "service"`},
		{[]string{"--help"}, 0, "bench services [flags]", ""},
		{[]string{"services", "-help"}, 0, "recovery", ""},
		{[]string{"--help"}, 0, "bench locks [flags]", ""},
		{[]string{"locks", "-help"}, 0, "handover", ""},
	} {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &out, &stderr); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		if !strings.Contains(out.String(), c.out) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: stdout %q, stderr %q; want %q and %q in them", c.args, out.String(), stderr.String(), c.out, c.stderr)
		}
	}
}

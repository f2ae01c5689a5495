package variables_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/variables"
	"github.com/etcdkit/etcdkit/mirror"
)

// layer makes one of keys and values in turn.
func layer(prefix string, pairs ...string) variables.Layer {
	return variables.Layer{Prefix: prefix, Entries: func(yield func(mirror.KeyValue) bool) {
		for pair := range slices.Chunk(pairs, 2) {
			if !yield(mirror.KeyValue{Key: prefix + pair[0], Value: pair[1]}) {
				return
			}
		}
	}}
}

func TestAKeyBelowThePrefixBecomesAVariable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layers []variables.Layer
		opts   *variables.Options
		want   []string
	}{
		{"as it is", []variables.Layer{layer("app/", "PORT", "80", "db/host", "db1")}, nil, []string{"PORT=80", "db_host=db1"}},
		{"upcase", []variables.Layer{layer("app/", "db/host", "db1")}, &variables.Options{Upcase: true}, []string{"DB_HOST=db1"}},
		{"sanitize", []variables.Layer{layer("app/", "1st", "a", "db-host", "b", "grüße.x", "c")}, &variables.Options{Sanitize: true}, []string{"_1st=a", "db_host=b", "gr__e_x=c"}},
		{"no value is a value", []variables.Layer{layer("app/", "EMPTY", "")}, nil, []string{"EMPTY="}},
		{"lines and equals signs", []variables.Layer{layer("app/", "A", "x=y\nz ")}, nil, []string{"A=x=y\nz "}},
		{"folders", []variables.Layer{layer("app/", "", "", "db/", "", "db/host", "db1")}, nil, []string{"db_host=db1"}},
		{"the last prefix counts", []variables.Layer{layer("all/", "A", "1", "B", "1"), layer("app/", "B", "2")}, nil, []string{"A=1", "B=2"}},
		{"nothing", []variables.Layer{layer("app/")}, nil, []string{}},
	} {
		vars, err := variables.From(tc.layers, tc.opts)
		if got := variables.Environ(vars); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}

func TestWhatCannotBeAVariableIsRefusedByItsKey(t *testing.T) {
	for _, tc := range []struct {
		name  string
		layer variables.Layer
		opts  *variables.Options
		want  []string
	}{
		{"dash", layer("app/", "db-host", "x"), nil, []string{`"app/db-host"`, "--sanitize"}},
		{"digit first", layer("app/", "1st", "x"), nil, []string{`"app/1st"`}},
		{"the prefix itself with a value", layer("app/", "", "x"), nil, []string{`"app/"`}},
		{"equals sign", layer("app/", "A=B", "x"), nil, []string{`"app/A=B"`}},
		{"escape", layer("app/", "A\033[2J", "x"), nil, []string{`"app/A\x1b[2J"`}},
		{"NUL", layer("app/", "A", "x\x00y"), nil, []string{`"app/A"`, "NUL"}},
		{"the same name twice", layer("app/", "a/b", "1", "a_b", "2"), nil, []string{`"app/a/b"`, `"app/a_b"`, "both a_b"}},
		{"the same name by capitals", layer("app/", "A", "1", "a", "2"), &variables.Options{Upcase: true}, []string{"both A"}},
		{"every one is named", layer("app/", "a-1", "", "a-2", ""), nil, []string{"a-1", "a-2"}},
		{"many are counted", layer("app/", "-1", "", "-2", "", "-3", "", "-4", "", "-5", "", "-6", "", "-7", ""), nil, []string{"-5", "and 2 more"}},
	} {
		vars, err := variables.From([]variables.Layer{tc.layer}, tc.opts)
		if tc.name == "NUL" && strings.Contains(fmt.Sprint(err), "--sanitize") {
			t.Errorf("%v: it is about the value, and no other name helps", err)
		}
		if err == nil || vars != nil {
			t.Errorf("%s: got %v, want an error", tc.name, vars)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %q in it", tc.name, err, want)
			}
		}
	}
}

func TestAShellReadsAnExportLineAsTheValueWas(t *testing.T) {
	const value = "it's $HOME `id` \\n \"q\"\nsecond line\t*"
	line := variables.Export(variables.Variable{Name: "V", Value: value})
	got, err := exec.Command("sh", "-c", line+"\nprintenv V").Output()
	if err != nil || string(got) != value+"\n" {
		t.Errorf("%s: got %q, %v, want %q", line, got, err, value)
	}
}

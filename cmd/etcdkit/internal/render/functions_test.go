package render_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/render"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestATemplateReadsKeysAndServices(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"app/db/host", "db1")
	put(t, cli, prefix+"app/db/port", "5432")
	put(t, cli, prefix+"app/list", `{"n":12345678901234567890,"a":["x","y"]}`)
	put(t, cli, prefix+"both", "leaf")
	put(t, cli, prefix+"both/below", "1")
	for _, i := range []registry.Instance{
		{Service: "web", ID: "b", Addr: "10.0.0.2:80", Status: registry.Passing, Tags: []string{"x", "y"}, Metadata: map[string]string{"k": "v"}},
		{Service: "web", ID: "a", Addr: "[::1]:81", Status: registry.Warning, Weight: 3, Zone: "z1"},
		{Service: "web", ID: "c", Addr: "10.0.0.3:80", Status: registry.Critical},
		{Service: "db", ID: "1", Addr: "10.0.0.4:5432", Status: registry.Passing},
	} {
		instance(t, cli, prefix, i)
	}
	put(t, cli, prefix+"services/web/evil", "x;\nquit:80")
	for text, want := range map[string]string{
		`{{ key "P/app/db/host" }}`:                                                                     "db1",
		`{{ keyOr "P/none" "x" }} {{ keyOr "P/app/db/host" "x" }}`:                                      "x db1",
		`{{ keyExists "P/app/db" }} {{ keyExists "P/app/db/host" }}`:                                    "false true",
		`{{ range keys "P/app/db/" }}{{ .Name }}={{ .Value }} {{ end }}`:                                "host=db1 port=5432 ",
		`{{ range keys "P/none/" }}{{ .Name }}{{ else }}nothing{{ end }}`:                               "nothing",
		`{{ with tree "P/app/" }}{{ .db.host }}:{{ .db.port }}{{ end }}`:                                "db1:5432",
		`{{ tree "P/app/db/" | json }}`:                                                                 `{"host":"db1","port":"5432"}`,
		`{{ tree "P/bot" | json }}`:                                                                     `{"h":{"":"leaf","below":"1"}}`,
		`{{ range service "web" }}{{ .ID }} {{ .Host }} {{ .Port }} {{ .Weight }}{{ .Zone }};{{ end }}`: "a ::1 81 3z1;b 10.0.0.2 80 1;",
		`{{ range service "web" "any" }}{{ .ID }}={{ .Status }} {{ end }}`:                              "a=warning b=passing c=critical ",
		`{{ range service "none" }}x{{ else }}nobody{{ end }}`:                                          "nobody",
		`{{ services | join "," }}`:                                                                     "db,web",
		`{{ with parseJSON (key "P/app/list") }}{{ .n }} {{ join "-" .a }}{{ end }}`:                    "12345678901234567890 x-y",
		`{{ env "NO_SUCH_VARIABLE" | default "d" }} {{ "v" | default "d" }}`:                            "d v",
		`{{ "a,b" | split "," | join ";" | toUpper | trimSuffix "B" }}`:                                 "A;",
		`{{ indent 2 "a\n\nb" }}`:                                                                       "  a\n\n  b",
		`{{ "x" | base64Encode }} {{ "eA==" | base64Decode }} {{ add (toInt "1") 2 }}`:                  "eA== x 3",
	} {
		got, err := rendered(t, cli, prefix, strings.ReplaceAll(text, "P/", prefix))
		if err == nil && strings.Contains(text, `"P/bot"`) {
			got = strings.ReplaceAll(got, prefix, "P/")
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestATemplateThatCannotBeExecutedSaysWhichLineAndWhy(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "not JSON")
	for text, want := range map[string][]string{
		"\n{{ key \"P/none\" }}":            {":2:", "there is no key", "keyOr"},
		"{{ parseJSON (key \"P/a\") }}":     {":1:", "not JSON"},
		"{{ (tree \"P/\").b }}":             {":1:", `there is no field "b"`},
		"{{ service \"no/name\" }}":         {":1:", "no/name"},
		"{{ service \"web\" \"passing\" }}": {":1:", `"any"`},
		"{{ key \"\" }}":                    {":1:", "empty"},
	} {
		_, err := rendered(t, cli, prefix, strings.ReplaceAll(text, "P/", prefix))
		if err == nil {
			t.Errorf("%s: got no error", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q in it", text, err, w)
			}
		}
		var missing *render.MissingError
		if errors.As(err, &missing) != strings.Contains(text, "P/none") {
			t.Errorf("%s: got %v: is the key missing?", text, err)
		}
	}
}

func TestATemplateThatIsWrongIsRefusedWithItsLine(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"a\n{{ nonesuch }}": ":2: function \"nonesuch\" not defined", "{{ if }}": ":1: missing value for if", "{{ range": ":1: unclosed action"} {
		if _, err := render.Parse(file(t, text) + ":" + dir + "/out"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for _, spec := range []string{"", "a", ":b", "a:", dir + "/none:" + dir + "/out"} {
		if got, err := render.Parse(spec); err == nil {
			t.Errorf("%q: got %v, want an error", spec, got)
		}
	}
}

package out

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func TestEachFormatPrintsEachKindOfOutput(t *testing.T) {
	type pair struct {
		Key string `json:"key"`
		N   int64  `json:"n"`
	}
	records := []Record{
		{Row: []Cell{{Text: "키"}, {Text: "7", Right: true}}, Line: "키 is 7", Value: []byte("7"), JSON: pair{"키", 7}},
		{Row: []Cell{{Text: "<b>"}, {Text: "12345678901234567", Right: true}}, Line: "b is long", Value: []byte("8"), JSON: pair{"<b>", 12345678901234567}},
	}
	for _, tc := range []struct{ format, list, stream, one string }{
		{"table", "  KEY                  N\n  키                   7\n  <b>  12345678901234567\n", "키 is 7\nb is long\n", "  KEY  N\n  키   7\n"},
		{"json", "[\n{\"key\":\"키\",\"n\":7},\n{\"key\":\"<b>\",\"n\":12345678901234567}\n]\n", "{\"key\":\"키\",\"n\":7}\n{\"key\":\"<b>\",\"n\":12345678901234567}\n", "{\"key\":\"키\",\"n\":7}\n"},
		{"jsonl", "{\"key\":\"키\",\"n\":7}\n{\"key\":\"<b>\",\"n\":12345678901234567}\n", "{\"key\":\"키\",\"n\":7}\n{\"key\":\"<b>\",\"n\":12345678901234567}\n", "{\"key\":\"키\",\"n\":7}\n"},
		{"value", "7\n8\n", "7\n8\n", "7\n"},
		{"template={{.key}}:{{.n}}", "키:7\n<b>:12345678901234567\n", "키:7\n<b>:12345678901234567\n", "키:7\n"},
	} {
		f := NewFormat(Table, Table, JSON, JSONL, Value, Template)
		if err := f.Set(tc.format); err != nil {
			t.Fatal(err)
		}
		print := func(do func(p *Printer) error) string {
			var stdout bytes.Buffer
			if err := do(New(&stdout, &stdout)); err != nil {
				t.Errorf("%s: %v", tc.format, err)
			}
			return stdout.String()
		}
		add := func(r *Records) error {
			for _, record := range records {
				if err := r.Add(record); err != nil {
					return err
				}
			}
			return r.Close()
		}
		if got := print(func(p *Printer) error { return add(p.Records(f, "KEY", "N")) }); got != tc.list {
			t.Errorf("list as %s: got\n%s\nwant\n%s", tc.format, got, tc.list)
		}
		if got := print(func(p *Printer) error { return add(p.Stream(f)) }); got != tc.stream {
			t.Errorf("stream as %s: got\n%s\nwant\n%s", tc.format, got, tc.stream)
		}
		if got := print(func(p *Printer) error { return p.Record(f, []string{"KEY", "N"}, records[0]) }); got != tc.one {
			t.Errorf("one as %s: got\n%q\nwant\n%q", tc.format, got, tc.one)
		}
	}
}

func TestAnEmptyListIsAnArrayWithoutElements(t *testing.T) {
	var stdout bytes.Buffer
	if err := New(&stdout, &stdout).Records(NewFormat(JSON, JSON), "KEY").Close(); err != nil || stdout.String() != "[]\n" {
		t.Errorf("got %q, %v", stdout.String(), err)
	}
}

func TestOnlyWhatIsAllowedIsAFormat(t *testing.T) {
	f := NewFormat(Table, Table, JSON, Template)
	for _, text := range []string{"yaml", "value", "template", "json=x", ""} {
		if err := f.Set(text); err == nil || err.Error() != "want table, json or template=TEXT" {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if err := f.Set("template={{.x"); err == nil {
		t.Error("a broken template was taken")
	}
}

func TestSafeTextCanBeReadBack(t *testing.T) {
	for text, want := range map[string]string{
		"plain 한글":        "plain 한글",
		"\x1b[31mred":     `\x1b[31mred`,
		"a\nb\tc\r":       `a\nb\tc\r`,
		`back\slash`:      `back\\slash`,
		"bad \xff utf-8":  `bad \xff utf-8`,
		"bidi \u202e abc": `bidi \u202e abc`,
		"csi \u009b31m":   `csi \u009b31m`,
		"tag \U000e0041":  `tag \U000e0041`,
	} {
		got := Safe(text)
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
		if back, err := strconv.Unquote(`"` + got + `"`); err != nil || back != text {
			t.Errorf("%s is read back as %q, %v, want %q", got, back, err, text)
		}
	}
	if got := SafeText("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("lines: got %q", got)
	}
}

func TestJSONIsHarmlessForATerminal(t *testing.T) {
	text := "ok 키\x1b[2J\x7f\u009b31m\u202e\u200b\U000e0041\u2028<&>"
	var stdout bytes.Buffer
	if err := New(&stdout, &stdout).Record(NewFormat(JSON, JSON), nil, Record{JSON: text}); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(stdout.String(), "\n")
	if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("got %q, want it printable", line)
	}
	var back string
	if err := json.Unmarshal([]byte(line), &back); err != nil || back != text {
		t.Errorf("read back: got %q, %v; want %q", back, err, text)
	}
}

func TestAnErrorOfATemplateNamesTheField(t *testing.T) {
	f := NewFormat(Template, Template)
	if err := f.Set("template={{.id}}{{.Value}}"); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	err := New(&stdout, &stdout).Record(f, nil, Record{JSON: map[string]string{"value": "v", "id": "i"}})
	const want = `-o:1:9: .Value: there is no field "Value"; the fields are id, value`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := f.Set("template={{.id"); err == nil || err.Error() != "-o:1: unclosed action" {
		t.Errorf("got %v, want where it is unclosed", err)
	}
}

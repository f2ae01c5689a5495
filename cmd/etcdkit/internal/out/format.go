package out

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Format is how data is printed: what -o says. It is a flag's value.
type Format struct {
	name     string
	template *template.Template
	allowed  []string
}

// Names of formats.
const (
	Table    = "table"    // for people
	JSON     = "json"     // one document
	JSONL    = "jsonl"    // one document a line
	Value    = "value"    // the values alone
	Template = "template" // as a Go template says, of each record's JSON
)

// NewFormat is a format, and those that may be asked for instead of it.
func NewFormat(name string, allowed ...string) Format { return Format{name: name, allowed: allowed} }

// Is tells whether it is the format of this name.
func (f *Format) Is(name string) bool { return f.name == name }

// String is what -o said.
func (f *Format) String() string { return f.name }

// Type is the flag's value in a help text.
func (f *Format) Type() string { return "format" }

// Set reads what -o says.
func (f *Format) Set(text string) error {
	name, body, isTemplate := strings.Cut(text, "=")
	if !slices.Contains(f.allowed, name) || isTemplate != (name == Template) {
		return fmt.Errorf("want %s", f.Choice())
	}
	f.name = name
	if !isTemplate {
		return nil
	}
	t, err := template.New("-o").Option("missingkey=error").Funcs(template.FuncMap{"json": toJSON}).Parse(body)
	f.template = t
	return TemplateError(err)
}

// Choice names the formats that may be asked for.
func (f *Format) Choice() string {
	names := slices.Clone(f.allowed)
	for i, name := range names {
		if name == Template {
			names[i] = "template=TEXT"
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// Choices are what -o may be, or begin with.
func (f *Format) Choices() []string {
	names := slices.Clone(f.allowed)
	for i, name := range names {
		if name == Template {
			names[i] += "="
		}
	}
	return names
}

// encode is a value as JSON in one line, which stays legible: < and & are themselves. It is harmless for a
// terminal: encoding/json escapes control characters of ASCII only.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return escapeUnprintable(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
}

// escapeUnprintable replaces characters that are not printable by JSON's escapes. In JSON they are in strings only.
func escapeUnprintable(text []byte) []byte {
	harmless := func(r rune) bool { return r < 0x7f || unicode.IsPrint(r) }
	if bytes.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		if harmless(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
	}
	return b
}

func toJSON(v any) (string, error) {
	b, err := encode(v)
	return string(b), err
}

// execute applies the template to what a reader of the JSON would see.
func (f *Format) execute(v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // a revision is printed as it is
	var seen any
	if err := d.Decode(&seen); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = f.template.Execute(&text, seen)
	if fields, ok := seen.(map[string]any); ok && err != nil {
		names := slices.Sorted(maps.Keys(fields))
		return text.Bytes(), fmt.Errorf("%w; the fields are %s", TemplateError(err), strings.Join(names, ", "))
	}
	return text.Bytes(), TemplateError(err)
}

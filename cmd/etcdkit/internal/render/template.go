package render

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

// Template is a template and the file that is made from it.
type Template struct {
	Source, Output string

	parsed *template.Template
}

// Parse reads the template of a "TEMPLATE:OUT". Its error names the line that is wrong.
func Parse(spec string) (*Template, error) {
	source, output, err := split(spec)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	// The name of a template begins every error about it.
	parsed, err := template.New(source).Option("missingkey=error").Funcs(functions(nil)).Parse(string(text))
	if err != nil {
		return nil, out.TemplateError(err)
	}
	return &Template{source, output, parsed}, nil
}

// split takes the last colon: a path of Windows has one, too.
func split(spec string) (source, output string, err error) {
	at := strings.LastIndexByte(spec, ':')
	if at <= 0 || at == len(spec)-1 || filepath.VolumeName(spec) == spec[:at+1] {
		return "", "", fmt.Errorf("%q: want TEMPLATE:OUT, as in app.tmpl:/etc/app.conf", spec)
	}
	return spec[:at], spec[at+1:], nil
}

// Distinct finds two templates that make the same file, and files that cannot be written.
func Distinct(templates []*Template) error {
	from := make(map[string]string)
	for _, t := range templates {
		output, err := filepath.Abs(t.Output)
		if err != nil {
			return err
		}
		if first, taken := from[output]; taken {
			return fmt.Errorf("%s: both %s and %s would make it", t.Output, first, t.Source)
		}
		from[output] = t.Source
		info, err := os.Stat(filepath.Dir(output))
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "open", Path: filepath.Dir(output), Err: fmt.Errorf("not a directory")}
		}
		if err != nil {
			return fmt.Errorf("output %s: its directory: %w", t.Output, err)
		}
		if info, err := os.Stat(output); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("output %s: it is not a regular file", t.Output)
		}
	}
	return nil
}

// execute makes the output.
func (t *Template) execute(s *sources) ([]byte, error) {
	bound, err := t.parsed.Clone()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = bound.Funcs(functions(s)).Execute(&b, nil)
	return b.Bytes(), out.TemplateError(err)
}

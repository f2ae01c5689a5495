package render

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"text/template"
)

// functions are those of a template. s may be nil: then they can be parsed, and not called.
func functions(s *sources) template.FuncMap {
	return template.FuncMap{
		"key": s.key, "keyOr": s.keyOr, "keyExists": s.keyExists, "keys": s.keys, "tree": s.tree,
		"service": s.service, "services": s.services,

		"env": os.Getenv, "default": orDefault,
		"json": toJSON, "toJSON": toJSON, "toJSONPretty": toJSONPretty, "parseJSON": parseJSON,
		"base64Encode": func(t string) string { return base64.StdEncoding.EncodeToString([]byte(t)) },
		"base64Decode": base64Decode,

		// The text that a function works on comes last, so that it can be piped.
		"join": join, "split": func(sep, t string) []string { return strings.Split(t, sep) },
		"lines":   func(t string) []string { return strings.Split(strings.TrimSuffix(t, "\n"), "\n") },
		"toUpper": strings.ToUpper, "toLower": strings.ToLower, "trimSpace": strings.TrimSpace,
		"trimPrefix": func(prefix, t string) string { return strings.TrimPrefix(t, prefix) },
		"trimSuffix": func(suffix, t string) string { return strings.TrimSuffix(t, suffix) },
		"replaceAll": func(from, to, t string) string { return strings.ReplaceAll(t, from, to) },
		"contains":   func(part, t string) bool { return strings.Contains(t, part) },
		"hasPrefix":  func(prefix, t string) bool { return strings.HasPrefix(t, prefix) },
		"hasSuffix":  func(suffix, t string) bool { return strings.HasSuffix(t, suffix) },
		"indent":     indent, "quote": strconv.Quote,
		"toInt": func(t string) (int, error) { return strconv.Atoi(strings.TrimSpace(t)) },
		"add":   func(a, b int) int { return a + b }, "sub": func(a, b int) int { return a - b }, "mul": func(a, b int) int { return a * b },
	}
}

// orDefault is a value, or other if the value is empty: {{ env "PORT" | default "80" }}.
func orDefault(other, value any) any {
	if truth, ok := template.IsTrue(value); ok && truth {
		return value
	}
	return other
}

func toJSON(v any) (string, error) { return marshal(v, "") }

func toJSONPretty(v any) (string, error) { return marshal(v, "  ") }

func marshal(v any, indent string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// parseJSON keeps numbers as they were written.
func parseJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("not JSON: something follows the first value")
	}
	return v, nil
}

func base64Decode(text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	return string(b), err
}

// join is strings.Join of any list.
func join(sep string, list any) (string, error) {
	v := reflect.ValueOf(list)
	if !v.IsValid() || v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return "", fmt.Errorf("join: %T is not a list", list)
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(texts, sep), nil
}

// indent puts spaces before each line of a text that is not empty.
func indent(n int, text string) (string, error) {
	if n < 0 || n > 1000 {
		return "", fmt.Errorf("indent: %d spaces", n)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = strings.Repeat(" ", n) + line
		}
	}
	return strings.Join(lines, "\n"), nil
}

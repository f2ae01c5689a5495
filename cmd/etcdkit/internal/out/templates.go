package out

import (
	"errors"
	"regexp"
	"strings"
)

// TemplateError is an error of text/template as a person reads it: where it is, which action, and why, without what is
// about Go.
func TemplateError(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "template: ")
	text = regexp.MustCompile(`executing "[^"]*" at <(.*?)>: `).ReplaceAllString(text, "$1: ")
	text = regexp.MustCompile(`error calling \w+: `).ReplaceAllString(text, "")
	text = regexp.MustCompile(`map has no entry for key ("[^"]*")`).ReplaceAllString(text, "there is no field $1")
	text = regexp.MustCompile(`can't evaluate field (\w+) in type \*?\w+\.(\w+)`).ReplaceAllStringFunc(text, func(found string) string {
		words := strings.Fields(found)
		kind := words[len(words)-1]
		return "there is no field " + words[3] + " in " + kind[strings.LastIndexByte(kind, '.')+1:]
	})
	return &templateError{text, errors.Unwrap(err)}
}

type templateError struct {
	text string
	why  error
}

func (e *templateError) Error() string { return e.text }
func (e *templateError) Unwrap() error { return e.why }

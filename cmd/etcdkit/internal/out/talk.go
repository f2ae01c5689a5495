package out

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Sentences say what libraries log as a person says it: by the message of a record, a line made of its attributes. ""
// says nothing.
type Sentences map[string]func(attr func(name string) slog.Value) string

// TalkLogger logs to stderr for a person, from Info on: the sentence of each record, or else its message and its
// attributes.
func (p *Printer) TalkLogger(of Sentences) *slog.Logger {
	return slog.New(&talk{to: p, sentences: of})
}

// talk is a slog.Handler.
type talk struct {
	to        *Printer
	sentences Sentences
	attrs     []slog.Attr
}

func (k *talk) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (k *talk) WithGroup(string) slog.Handler                    { return k }

func (k *talk) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &talk{k.to, k.sentences, slices.Concat(k.attrs, attrs)}
}

func (k *talk) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(k.attrs) // several goroutines log
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	if sentence, ok := k.sentences[r.Message]; ok {
		text := sentence(func(name string) slog.Value {
			i := slices.IndexFunc(attrs, func(a slog.Attr) bool { return a.Key == name })
			if i < 0 {
				return slog.Value{}
			}
			return attrs[i].Value
		})
		if text != "" {
			k.to.Talkf("etcdkit: %s", oneLine(text))
		}
		return nil
	}
	var text strings.Builder
	for i, a := range attrs {
		mark := ", "
		if i == 0 {
			mark = ": "
		}
		fmt.Fprintf(&text, "%s%s %v", mark, a.Key, a.Value)
	}
	k.to.Talkf("etcdkit: %s%s", r.Message, oneLine(text.String()))
	return nil
}

// oneLine is Printable without newlines: attributes can be of other processes, and must not look like further lines.
func oneLine(text string) string { return Printable(strings.ReplaceAll(text, "\n", " ")) }

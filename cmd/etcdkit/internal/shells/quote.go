package shells

import (
	"strings"
	"unicode"
)

// Printable tells whether a name can be completed at all. Names come from etcd: one with a control character could
// steer a terminal, one that begins with a dash would be a flag, and spaces around it would be lost.
func Printable(name string) bool {
	return name != "" && !strings.HasPrefix(name, "-") && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// Plain tells whether a name means itself in every shell, without quotes.
func Plain(name string) bool {
	return Printable(name) && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) })
}

func plain(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/-_.,@+%=:", r)
}

// Bash answers bash, for a Tab of the type that COMP_TYPE has: what is put in the place of the word that is typed, or
// what is listed. names are printable and begin with what is typed; about says more on some of them. more says that the
// word goes on: bash then adds no space.
func (l *Line) Bash(tab string, names []string, about map[string]string, columns int) (replies []string, more bool) {
	const list = "63" // a second Tab: nothing is put in
	var quoted []string
	var fit []string
	for _, name := range names {
		if q, ok := l.quoted(name); ok {
			quoted, fit = append(quoted, q), append(fit, name)
		}
	}
	switch {
	case len(fit) == 1:
		return quoted, GoesOn(fit[0])
	case tab == list:
		return described(fit, about, l.kept, columns), false
	}
	// bash puts in what all replies begin with. Where that would end amid an escape, it gets the beginning alone.
	if begin, ok := l.quoted(common(fit)); ok && len(fit) > 0 && common(quoted) != begin {
		return []string{begin}, true
	}
	return quoted, false
}

// GoesOn tells whether a word goes on behind a name: a folder's, or "web=".
func GoesOn(name string) bool { return strings.HasSuffix(name, "/") || strings.HasSuffix(name, "=") }

// quoted is a name without what the shell keeps, as it is read behind the quote that is open.
func (l *Line) quoted(name string) (string, bool) {
	if len(name) < l.kept {
		return "", false
	}
	name = name[l.kept:]
	switch l.quote {
	case '\'':
		return strings.ReplaceAll(name, "'", `'\''`), true
	case '"':
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(name), !strings.Contains(name, "!")
	}
	var b strings.Builder
	for _, r := range name {
		if r < unicode.MaxASCII && !plain(r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// common is what all words begin with, in whole characters.
func common(words []string) string {
	if len(words) == 0 {
		return ""
	}
	begin := words[0]
	for _, word := range words[1:] {
		for !strings.HasPrefix(word, begin) {
			runes := []rune(begin)
			begin = string(runes[:len(runes)-1])
		}
	}
	return begin
}

// described are names with what is said about them, in lines of the terminal's width.
func described(names []string, about map[string]string, kept, columns int) []string {
	width := 0
	for _, name := range names {
		width = max(width, len([]rune(name[kept:])))
	}
	var lines []string
	for _, name := range names {
		line := name[kept:]
		text := about[name]
		if room := columns - width - len("  ()") - 1; text != "" && room > 8 {
			if r := []rune(text); len(r) > room {
				text = string(r[:room-1]) + "…"
			}
			line += strings.Repeat(" ", width-len([]rune(line))) + "  (" + text + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

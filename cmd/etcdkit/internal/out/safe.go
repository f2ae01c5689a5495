package out

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe is text from etcd as it may stand on a terminal, in one line: control characters, characters that only
// change how others look, bytes that are not UTF-8, and backslashes are printed as Go's escapes. So it can be
// read back: strconv.Unquote(`"` + … + `"`) is the text, as long as that has no quotes.
func Safe(text string) string { return safe(text, "") }

// SafeText is Safe for text of several lines: newlines and tabs stay.
func SafeText(text string) string { return safe(text, "\n\t") }

// Printable is SafeText without doubled backslashes, for text that has escapes of its own: an error, say, which
// quotes what it names. What it escapes cannot be read back for certain.
func Printable(text string) string { return safe(text, "\n\t\\") }

func safe(text, kept string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return escaped(r, kept) }) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !escaped(r, kept):
			b.WriteRune(r)
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// escaped tells whether a terminal must not get the character itself.
func escaped(r rune, kept string) bool {
	return r == utf8.RuneError || !strings.ContainsRune(kept, r) && (r == '\\' || !unicode.IsPrint(r))
}

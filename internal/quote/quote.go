// Package quote makes text that other processes wrote into etcd fit to be read by people: in an
// error, a log line, or on a terminal. Such text can contain terminal escapes, newlines, or a
// megabyte.
//
//	fmt.Errorf("%w: by %s on host %s, with the key %s", ErrTaken, quote.Word(command), quote.Word(host), quote.Text(key))
//
// What it returns is printable, on one line, and at most about four times as long as what it keeps.
package quote

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Most is how many bytes of a text are kept by default.
const Most = 100

// Text is s in quotes, as %q prints it, and cut after Most bytes.
func Text(s string) string { return Cut(s, Most) }

// Cut is s in quotes, and cut after a number of bytes. What is cut says how long it was.
func Cut(s string, most int) string {
	kept := Head(s, most)
	if len(kept) == len(s) {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(kept), len(s))
}

// Word is s without quotes if it is a single word of letters, digits and a few other characters, as
// hosts and commands usually are. Otherwise it is Text. So text with spaces or quotes is always quoted.
func Word(s string) string {
	if s == "" || len(s) > Most || strings.ContainsFunc(s, notOfWord) {
		return Text(s)
	}
	return s
}

func notOfWord(r rune) bool {
	return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._/:@+=~%", r)
}

// Line is s as it is, if it is one line of printable text that is not longer than most bytes; otherwise it is
// Cut: for the text of an error that others may have written.
func Line(s string, most int) string {
	if len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Cut(s, most)
	}
	return s
}

// Head is the beginning of s, of at most so many bytes, and does not end within a character. It is
// not quoted: for a value that a program keeps.
func Head(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := max(most, 0)
	for back := 0; back < utf8.UTFMax && cut > 0 && !utf8.RuneStart(s[cut]); back++ {
		cut--
	}
	return s[:cut]
}

// Joined are texts as Text makes them, separated by commas. What is beyond the first few is counted.
func Joined(all []string, few int) string {
	var b strings.Builder
	for i, s := range all {
		if i == few {
			fmt.Fprintf(&b, " and %d more", len(all)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Text(s))
	}
	return b.String()
}

package quote_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// hostile is what an attacker may have written.
var hostile = []string{
	"\x1b[2J\x1b[H", "\x1b]0;title\a", "a\nb", "a\r\x00", "\xff\xfe", "\u202egnp.exe", "\u0085\u2028", "\u009b31m", "\u200b", "\ufeff",
	strings.Repeat("\x1b[2J", 300_000), strings.Repeat("é", 700_000), strings.Repeat("\xff", 1_400_000),
}

func TestWhatIsQuotedIsPrintableOnOneLineAndShort(t *testing.T) {
	for _, s := range hostile {
		for how, got := range map[string]string{
			"Text": quote.Text(s), "Word": quote.Word(s), "Cut": quote.Cut(s, 10), "Line": quote.Line(s, 10), "Joined": quote.Joined([]string{s, s, s}, 2),
		} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s(%.20q) = %q, want it printable", how, s, got)
			}
			if len(got) > 2*(4*quote.Most+40) {
				t.Errorf("%s(%.20q) has %d bytes", how, s, len(got))
			}
		}
	}
}

func TestAWordStaysAsItIsAndNothingElseLooksLikeOne(t *testing.T) {
	for s, want := range map[string]string{
		"vm7.example.com": "vm7.example.com", "/usr/bin/worker": "/usr/bin/worker", "größe": "größe", "호스트": "호스트", "[::1]": `"[::1]"`,
		"":                   `""`,
		"vm7) since today (": `"vm7) since today ("`, `"vm7"`: `"\"vm7\""`, "a,b": `"a,b"`,
		strings.Repeat("x", 101): `"` + strings.Repeat("x", 100) + `"… (101 bytes)`,
	} {
		if got := quote.Word(s); got != want {
			t.Errorf("Word(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestAShortPrintableLineStaysAsItIs(t *testing.T) {
	for s, want := range map[string]string{
		"": "", `it says "no"`: `it says "no"`, "größe 호스트": "größe 호스트",
		"two\nlines": `"two\nlines"`, "\xff": `"\xff"`, "longer than twenty bytes": `"longer than twenty b"… (24 bytes)`,
	} {
		if got := quote.Line(s, 20); got != want {
			t.Errorf("Line(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestTheHeadOfATextEndsBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		s    string
		most int
		want string
	}{{"aé", 2, "a"}, {"aé", 3, "aé"}, {"日本", 5, "日"}, {"日本", 1, ""}, {"abc", 0, ""}, {"abc", -1, ""}, {"\x80\x80\x80\x80\x80\x80\x80\x80", 6, "\x80\x80"}} {
		if got := quote.Head(c.s, c.most); got != c.want {
			t.Errorf("Head(%q, %d) = %q, want %q", c.s, c.most, got, c.want)
		}
	}
}

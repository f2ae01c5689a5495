package shells

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/internal/means"
)

const breaks = " \t\n\"'@><=;|&(:" // bash's own

func TestALineIsReadAsAShellReadsIt(t *testing.T) {
	t.Setenv("EP", "h:1")
	t.Setenv("HOME", "/home/amy")
	for _, tc := range []struct {
		line, words, typed string // words are separated by |
		kept               int
	}{
		{"etcdkit ", "", "", 0},
		{"etcdkit get a", "get", "a", 0},
		{"etcdkit get a ", "get|a", "", 0},
		{`etcdkit get 'a b' "c d" e\ f '' g"h"i x`, "get|a b|c d|e f||ghi", "x", 0},
		{`etcdkit get "a\"b\n" x`, `get|a"b\n`, "x", 0},
		{"etcdkit get a:b/c", "get", "a:b/c", 2},
		{`etcdkit get a\:b`, "get", "a:b", 0},
		{`etcdkit get x"a:b`, "get", "xa:b", 1},
		{"etcdkit get 'ä", "get", "ä", 0},
		{"etcdkit get --cacert=~/x ~/a ~b y", "get|--cacert=~/x|/home/amy/a|~b", "y", 0},
		{"etcdkit --endpoints $EP ${EP}/x $NONE y", "--endpoints|h:1|h:1/x|", "y", 0},
		{"etcdkit get '$EP' a 2>/dev/null >x b", "get|$EP|a", "b", 0},
		{"A=1 B=2 etcdkit get a", "get", "a", 0},
		{"~/bin/etcdkit get a", "get", "a", 0},
	} {
		l, ok := Parse(tc.line, breaks)
		if !ok || strings.Join(l.Words, "|") != tc.words || l.Typed != tc.typed || l.kept != tc.kept {
			t.Errorf("%q: got %+v, %v, want words %s and %q behind %d bytes", tc.line, l, ok, tc.words, tc.typed, tc.kept)
		}
	}
	for _, line := range []string{"etcdkit get $(date) a", "etcdkit get `date` a", "etcdkit get <(date) a", `etcdkit get "$(date)" a`, `etcdkit get a\`, "etcdkit get ${x:-y}"} {
		if l, ok := Parse(line, breaks); ok {
			t.Errorf("%q: got %+v, want none: it has a command, or cannot be read", line, l)
		}
	}
	if l, ok := Parse("etcdkit get a >b", breaks); !ok || !l.Redirected || l.Typed != "b" {
		t.Errorf("got %+v, want a redirection to b", l)
	}
	if l, ok := Parse("etcdkit get $EP", breaks); !ok || !l.Unknown {
		t.Errorf("got %+v, want that its beginning is unknown", l)
	}
}

func TestBashReadsAReplyAsTheName(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		means.Missing(t, "no bash here: %v", err)
	}
	names := []string{
		"plain/name", "with space", "$(touch pwned)", "`id`", `back\slash`, `quo"te`, "it's", "a;b&c|d", "*?[x]{y}", "~tilde", "#x", "!x", "<>()", "a:b=c@d", "ä…",
	}
	for _, open := range []string{"", "'", `"`} {
		for _, name := range names {
			for _, typed := range []int{0, 1, strings.Index(name, ":") + 1} {
				begin := open + name[:typed]
				if open == "" {
					begin, _ = (&Line{}).quoted(name[:typed])
				}
				l, ok := Parse("etcdkit get "+begin, breaks)
				if !ok { // as with "$ without a name
					continue
				}
				replies, _ := l.Bash("9", []string{name}, nil, 80)
				if len(replies) == 0 && open == `"` && strings.Contains(name, "!") {
					continue // bash has no way to write it there
				}
				// bash keeps what stands before the word that it replaces, and closes the quote.
				kept := begin[:len(begin)-len(name[l.kept:typed])]
				if open == "" {
					kept, _ = (&Line{}).quoted(name[:l.kept])
				}
				got, err := exec.Command("bash", "--norc", "-c", "printf %s "+kept+replies[0]+open).Output()
				if err != nil || string(got) != name {
					t.Errorf("%q behind %q: bash reads %s%s%s as %q, %v", name, begin, kept, replies[0], open, got, err)
				}
			}
		}
	}
}

func TestWhatIsPutInDoesNotEndAmidAnEscape(t *testing.T) {
	l, _ := Parse("etcdkit get a", breaks)
	names := []string{"a b", "a;b"}
	if got, more := l.Bash("9", names, nil, 80); !slices.Equal(got, []string{"a"}) || !more {
		t.Errorf("got %q, %v, want the beginning alone", got, more)
	}
	if got, _ := l.Bash("63", names, map[string]string{"a b": "text"}, 80); !slices.Equal(got, []string{"a b  (text)", "a;b"}) {
		t.Errorf("listed: got %q", got)
	}
}

func TestNamesThatCouldSteerATerminalOrBeFlagsAreLeftOut(t *testing.T) {
	for _, name := range []string{"", "-x", "--", "a\nb", "a\tb", "\x1b[31m", "a\u202eb", "\xff", " a", "a ", "a\u00a0b"} {
		if Printable(name) {
			t.Errorf("%q can be completed", name)
		}
	}
	if !Printable("a b$(c)'") || Plain("a b") || Plain("a'b") || !Plain("a/b:c=d") {
		t.Error("a name with a space or a quote can be completed where it is quoted, and only there")
	}
}

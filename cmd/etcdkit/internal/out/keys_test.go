package out

import (
	"slices"
	"testing"
)

func TestKeysAreReadFromWhatATerminalSends(t *testing.T) {
	for typed, want := range map[string][]Key{
		"q":                     {"q"},
		"\003":                  {CtrlC},
		"\033[A\033[B\033OC\t ": {Up, Down, Right, Tab, " "},
		"\033":                  {Escape},
		"\033[5~x\033[Z":        {PageUp, "x", BackTab},
		"\033[1;5Cq":            {"q"}, // Ctrl-right is no key
		"한q":                    {"한", "q"},
		"":                      nil,
	} {
		if got := parseKeys(typed); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

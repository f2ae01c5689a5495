package out

import (
	"context"
	"os"
	"strings"
	"unicode/utf8"
)

// Key is one that was typed: a character, or one of the names below.
type Key string

// Keys that are no character.
const (
	CtrlC    Key = "ctrl-c"
	Escape   Key = "escape"
	Tab      Key = "tab"
	BackTab  Key = "shift-tab"
	Up       Key = "up"
	Down     Key = "down"
	Left     Key = "left"
	Right    Key = "right"
	PageUp   Key = "page-up"
	PageDown Key = "page-down"
	Home     Key = "home"
	End      Key = "end"
)

// sequences are what terminals send for keys that are no character.
var sequences = []struct {
	bytes string
	key   Key
}{
	{"\033[A", Up}, {"\033[B", Down}, {"\033[C", Right}, {"\033[D", Left},
	{"\033OA", Up}, {"\033OB", Down}, {"\033OC", Right}, {"\033OD", Left},
	{"\033[5~", PageUp}, {"\033[6~", PageDown}, {"\033[Z", BackTab},
	{"\033[H", Home}, {"\033[F", End}, {"\033OH", Home}, {"\033OF", End}, {"\033[1~", Home}, {"\033[4~", End},
	{"\t", Tab}, {"\003", CtrlC}, {"\034", CtrlC}, // Ctrl-\ ends a program, too
}

// parseKeys reads what came from a terminal at once. An escape sequence that is not known is no key.
func parseKeys(typed string) (keys []Key) {
next:
	for typed != "" {
		for _, s := range sequences {
			if rest, ok := strings.CutPrefix(typed, s.bytes); ok {
				keys, typed = append(keys, s.key), rest
				continue next
			}
		}
		if typed[0] == '\033' {
			if n := sequenceLength(typed); n > 1 {
				typed = typed[n:]
				continue
			}
			keys, typed = append(keys, Escape), typed[1:]
			continue
		}
		_, n := utf8.DecodeRuneInString(typed)
		keys, typed = append(keys, Key(typed[:n])), typed[n:]
	}
	return keys
}

// sequenceLength is that of the escape sequence that a text begins with; 1 if it is the key Escape.
func sequenceLength(text string) int {
	if len(text) < 2 || text[1] != '[' && text[1] != 'O' {
		return 1
	}
	for i := 2; i < len(text); i++ {
		if text[i] >= '@' && text[i] <= '~' {
			return i + 1
		}
	}
	return len(text)
}

// readKeys sends what is typed until ctx ends, or the terminal has gone.
func readKeys(ctx context.Context, in *os.File, keys chan<- Key) {
	buf := make([]byte, 256)
	for ctx.Err() == nil {
		ready, err := awaitInput(in, perFrame)
		if err != nil {
			return
		}
		if !ready {
			continue
		}
		n, err := in.Read(buf)
		for _, key := range parseKeys(string(buf[:n])) {
			select {
			case keys <- key:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

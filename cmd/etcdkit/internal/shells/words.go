package shells

import (
	"os"
	"strings"
)

// Line is a command line up to the cursor, as its command would get it.
type Line struct {
	Words []string // before the one that is typed, without the program's name
	Typed string   // without its quotes

	// Redirected says that Typed is the file of a redirection, as in "> file".
	Redirected bool
	// Unknown says that Typed has what a shell would replace, as $NAME: what it begins with is not known.
	Unknown bool

	quote byte // that is open at the cursor: ', " or 0
	kept  int  // bytes of Typed that bash keeps when it replaces the word
}

// Parse reads a line, or a word, up to the cursor. breaks are the characters behind which bash begins to replace,
// COMP_WORDBREAKS. Exported variables and a ~ in earlier words are replaced, and nothing is run: ok is false for a
// line with a command in it, as $(date).
func Parse(text, breaks string) (l *Line, ok bool) {
	p := &parser{rest: text, breaks: breaks}
	for p.rest != "" {
		if !p.next() {
			return nil, false
		}
	}
	words := p.words
	for len(words) > 0 && strings.Contains(words[0], "=") { // A=1 etcdkit …
		words = words[1:]
	}
	if len(words) > 0 {
		words = words[1:]
	}
	l = &Line{words, p.text, p.redirected, p.unknown, p.quote, p.breakAt}
	if p.quote != 0 {
		l.kept = p.quoteAt
	}
	return l, true
}

// Word is a word without its quotes, as far as it is typed. What cannot be read stays as it is.
func Word(text string) string {
	if l, ok := Parse("etcdkit "+text, ""); ok && len(l.Words) == 0 {
		return l.Typed
	}
	return text
}

type parser struct {
	rest, breaks string
	words        []string

	// of the word that is being read
	text       string
	begun      bool // it may be empty, as ''
	quote      byte // that is open
	quoteAt    int  // how much of text was there when it was opened
	breakAt    int  // how much of text ends in a character of breaks
	redirected bool
	unknown    bool
	home       bool // it begins with a ~ without quotes
}

// next reads a character with what belongs to it.
func (p *parser) next() bool {
	c, text := p.rest[0], p.rest[:1]
	p.rest = p.rest[1:]
	switch {
	case p.quote != 0 && c == p.quote:
		p.quote = 0
	case p.quote == '\'':
		p.text += text
	case c == '$' || c == '`':
		return c == '$' && p.variable()
	case c == '\\':
		return p.escaped()
	case p.quote == '"':
		p.text += text
	case strings.IndexByte(" \t\n", c) >= 0:
		p.end()
	case c == '\'' || c == '"':
		p.quote, p.begun, p.quoteAt = c, true, len(p.text)
	case c == '<' || c == '>':
		p.redirection()
	case strings.IndexByte("|&;()", c) >= 0:
		return false
	default:
		p.home = p.home || c == '~' && !p.begun
		p.text, p.begun = p.text+text, true
		if strings.IndexByte(p.breaks, c) >= 0 {
			p.breakAt = len(p.text)
		}
	}
	return true
}

// escaped reads what follows a backslash.
func (p *parser) escaped() bool {
	if p.rest == "" {
		return false
	}
	if p.quote == '"' && strings.IndexByte("$`\"\\", p.rest[0]) < 0 {
		p.text += `\`
	}
	p.text, p.begun, p.rest = p.text+p.rest[:1], true, p.rest[1:]
	return true
}

// variable reads $NAME or ${NAME}.
func (p *parser) variable() bool {
	name, braces := strings.CutPrefix(p.rest, "{")
	n := 0
	for n < len(name) && (name[n] == '_' || name[n] >= 'a' && name[n] <= 'z' || name[n] >= 'A' && name[n] <= 'Z' || n > 0 && name[n] >= '0' && name[n] <= '9') {
		n++
	}
	name, p.rest = name[:n], name[n:]
	if braces && !strings.HasPrefix(p.rest, "}") || name == "" {
		return false
	}
	if braces {
		p.rest = p.rest[1:]
	}
	p.text, p.begun, p.unknown = p.text+os.Getenv(name), true, true
	return true
}

// redirection reads >, >>, 2> and the like: what comes before is a descriptor, and the next word is a file.
func (p *parser) redirection() {
	if strings.Trim(p.text, "0123456789") == "" {
		p.begun = false
	}
	p.end()
	p.rest = strings.TrimLeft(p.rest, "<>&|")
	p.redirected = true
}

// end ends a word.
func (p *parser) end() {
	if !p.begun {
		p.text = ""
		return
	}
	if p.home && (p.text == "~" || strings.HasPrefix(p.text, "~/")) {
		p.text = os.Getenv("HOME") + p.text[1:]
	}
	if !p.redirected {
		p.words = append(p.words, p.text)
	}
	*p = parser{rest: p.rest, breaks: p.breaks, words: p.words}
}

package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Bytes is a key or a value. In JSON it is a string where it is UTF-8, and otherwise an object with one
// field:
//
//	"hello"
//	{"base64":"/wD+"}
//
// Every sequence of bytes comes back from its JSON exactly. encoding/json alone prints all bytes as base64,
// unmarked, and replaces what is not UTF-8 in strings.
type Bytes []byte

// encoded is the form of what is not UTF-8.
type encoded struct {
	Base64 *[]byte `json:"base64"`
}

// MarshalJSON returns the string or the object, without any character that is not printable: a terminal can show it. No bytes, nil included, are the empty string.
func (b Bytes) MarshalJSON() ([]byte, error) {
	var v any = string(b)
	if !utf8.Valid(b) {
		v = encoded{(*[]byte)(&b)}
	}
	text, err := line(v)
	if err != nil {
		return nil, err
	}
	return escapeUnprintable(text), nil
}

// escapeUnprintable escapes characters in JSON that a terminal could obey, or that change how others look: encoding/json
// escapes those below a space only.
func escapeUnprintable(text []byte) []byte {
	bad := func(r rune) bool { return r >= utf8.RuneSelf-1 && r != utf8.RuneError && !unicode.IsPrint(r) }
	if !bytes.ContainsFunc(text, bad) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !bad(r):
			b.WriteRune(r)
		case r > 0xffff:
			first, second := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, first, second)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// UnmarshalJSON takes both forms. It refuses what encoding/json would change: a string with bytes that are
// not UTF-8, or with an escape that is half a character; and null, which could be nothing or no bytes.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		if !utf8.Valid(text) {
			return fmt.Errorf(`keys: %s is not UTF-8: want {"base64":"…"} for such bytes`, quote.Text(string(text)))
		}
		if half := halfCharacter(text); half != "" {
			return fmt.Errorf(`keys: %s is half a character: want {"base64":"…"} for bytes that are not UTF-8`, half)
		}
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		*b = Bytes(s)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var e encoded
	err := d.Decode(&e)
	if err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) || e.Base64 == nil {
		return fmt.Errorf(`keys: %s: want a string, or {"base64":"…"}`, quote.Line(string(text), quote.Most))
	}
	*b = *e.Base64
	return nil
}

// halfCharacter is an escape in a JSON string that is one half of a pair without the other, or "".
func halfCharacter(text []byte) string {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		first, ok := escape(text[i:])
		if !ok {
			i++ // another escape, as \n
			continue
		}
		const length = len(`\uffff`)
		if utf16.IsSurrogate(first) {
			second, _ := escape(text[i+length:])
			if utf16.DecodeRune(first, second) == utf8.RuneError {
				return string(text[i : i+length])
			}
			i += length
		}
		i += length - 1
	}
	return ""
}

// escape is the number that text begins with as \uffff, and whether it does.
func escape(text []byte) (rune, bool) {
	if len(text) < len(`\uffff`) || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

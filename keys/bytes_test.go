package keys_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/keys"
)

func ExampleBytes() {
	text, err := json.Marshal([]keys.Bytes{keys.Bytes("grüezi"), {0xff, 0x00}, nil})
	fmt.Println(string(text), err)
	// Output: ["grüezi",{"base64":"/wA="},""] <nil>
}

func FuzzEveryByteStringComesBackFromItsJSON(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff", "\xed\xa0\x80", "\uFFFD", "\u2028", "<&>", `\ud800`, "\\", "\"", "日本", "a\xc3", "\U0010FFFF"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, marshal := range map[string]func() ([]byte, error){
			"MarshalJSON":        keys.Bytes(b).MarshalJSON,
			"json.Marshal":       func() ([]byte, error) { return json.Marshal(keys.Bytes(b)) },
			"json.MarshalIndent": func() ([]byte, error) { return json.MarshalIndent(keys.Bytes(b), "", "  ") },
		} {
			text, err := marshal()
			if err != nil {
				t.Fatalf("%s of %q: %v", name, b, err)
			}
			if readable := text[0] == '"'; readable != utf8.Valid(b) {
				t.Errorf("%s of %q: got %s, want a string only of UTF-8", name, b, text)
			}
			var got keys.Bytes
			if err := json.Unmarshal(text, &got); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s of %q is %s, and back: %q, %v", name, b, text, []byte(got), err)
			}
		}
	})
}

func TestTextStaysReadableInJSON(t *testing.T) {
	text, err := keys.Bytes("a<b>&\u00e9\u65e5").MarshalJSON()
	if want := `"a<b>&é日"`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

func TestATerminalCanShowBytesInJSON(t *testing.T) {
	text, err := keys.Bytes("\x1b[31m \u009b31m \u202eabc \x7f \U000e0041 \u00a0").MarshalJSON()
	if want := `"\u001b[31m \u009b31m \u202eabc \u007f \udb40\udc41 \u00a0"`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

func TestBytesInJSONAreRefusedWhereTheyWouldChange(t *testing.T) {
	for text, want := range map[string]string{
		`null`:                       `want a string, or {"base64":"…"}`,
		`7`:                          `want a string, or {"base64":"…"}`,
		`["a"]`:                      `want a string, or {"base64":"…"}`,
		`{}`:                         `want a string, or {"base64":"…"}`,
		`{"base64":null}`:            `want a string, or {"base64":"…"}`,
		`{"base64":"%"}`:             `want a string, or {"base64":"…"}`,
		`{"base64":"","text":"a"}`:   `want a string, or {"base64":"…"}`,
		`"` + "\xff" + `"`:           "is not UTF-8",
		`"a\ud800"`:                  `\ud800 is half a character`,
		`"\ud800\u0041"`:             `\ud800 is half a character`,
		`"\ud800\\ud800\ufffd\udc0"`: "", // no JSON
		`"\\\udC00"`:                 `\udC00 is half a character`,
	} {
		var got keys.Bytes
		err := json.Unmarshal([]byte(text), &got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want an error with %q", text, []byte(got), err, want)
		}
	}
	for text, want := range map[string]string{
		`"\ud83d\ude00"`: "😀", `"\\ud800"`: `\ud800`, `"\n\t\/"`: "\n\t/", `"\u0000\ufffd"`: "\x00\ufffd", `{"base64":""}`: "", ` { "base64" : "AA==" } `: "\x00",
	} {
		var got keys.Bytes
		if err := json.Unmarshal([]byte(text), &got); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", text, []byte(got), err, want)
		}
	}
}

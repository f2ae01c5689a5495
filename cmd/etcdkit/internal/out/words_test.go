package out

import "testing"

func TestALineIsWrappedBetweenWordsAndHangsFromItsIndent(t *testing.T) {
	for _, tc := range []struct {
		text        string
		width, hang int
		want        string
	}{
		{"one two three", 13, 2, "one two three"},
		{"one two three", 12, 2, "one two\n  three"},
		{"  one two three", 9, 2, "  one two\n    three"},
		{"use  export A=http://127.0.0.1:2379,127.0.0.1:22379", 20, 5, "use  export\n     A=http://127.0.0.1:2379,127.0.0.1:22379"},
		{"a longword b", 4, 0, "a\nlongword\nb"},
		{"한글 두 마디", 5, 1, "한글 두\n 마디"},
		{"one\ntwo three", 5, 0, "one\ntwo\nthree"},
		{Colours().Paint("one", Red) + " two three", 7, 0, Colours().Paint("one", Red) + " two\nthree"},
	} {
		if got := Wrap(tc.text, tc.width, tc.hang); got != tc.want {
			t.Errorf("%q in %d columns: got %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

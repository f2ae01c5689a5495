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
		{"한글 두 마디", 7, 1, "한글 두\n 마디"},
		{"one\ntwo three", 5, 0, "one\ntwo\nthree"},
		{Colours().Paint("one", Red) + " two three", 7, 0, Colours().Paint("one", Red) + " two\nthree"},
	} {
		if got := Wrap(tc.text, tc.width, tc.hang); got != tc.want {
			t.Errorf("%q in %d columns: got %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

func TestALineIsClippedToItsColumns(t *testing.T) {
	red := Colours().Paint("one two", Red)
	for _, tc := range []struct {
		text    string
		columns int
		want    string
	}{
		{"one two", 7, "one two"},
		{"one two", 6, "one t…"},
		{red, 7, red},
		{red, 4, "\033[31mone…\033[0m"},
		{"한글 두", 4, "한…"},
	} {
		if got := Clip(tc.text, tc.columns); got != tc.want {
			t.Errorf("%q in %d columns: got %q, want %q", tc.text, tc.columns, got, tc.want)
		}
	}
}

func TestSizesAreLegible(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 20: "1 MiB", 20480: "20 KiB", 1536 << 10: "1.5 MiB", 2 << 30: "2 GiB", 5000 << 40: "5000 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

package out

import "testing"

func TestAFrameFitsItsScreenAndErasesWhatStoodThere(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"with room below": {[]string{"a", "b"}, "\033[H\033[Ka\r\n\033[Kb\r\n\033[J"},
		"just so":         {[]string{"a", "b", "c"}, "\033[H\033[Ka\r\n\033[Kb\r\n\033[Kc"},
		"too long":        {[]string{"a", "b", "c", "d"}, "\033[H\033[Ka\r\n\033[Kb\r\n\033[Kc"},
	} {
		if got := frame(c.lines, 3); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

package tour

import (
	"slices"
	"strings"
)

// columns cuts all but some columns out of a table of etcdctl's: its status has 16 of them and
// is 245 characters wide. Lines without a frame stay as they are.
func columns(table string, keep ...string) string {
	var from, to []int // of the columns kept, with the frame on their left
	var out []string
	for line := range strings.Lines(table) {
		cells := []rune(strings.TrimSuffix(line, "\n"))
		if from == nil && strings.HasPrefix(line, "│") {
			from, to = edges(cells, keep)
			for i := range out { // the frame above the heading
				out[i] = pick([]rune(out[i]), from, to)
			}
		}
		out = append(out, pick(cells, from, to))
	}
	return strings.Join(out, "\n")
}

func edges(heading []rune, keep []string) (from, to []int) {
	last := 0
	for i, r := range heading {
		if r == '│' && i > 0 {
			if slices.Contains(keep, strings.TrimSpace(string(heading[last+1:i]))) {
				from, to = append(from, last), append(to, i)
			}
			last = i
		}
	}
	return from, to
}

func pick(line []rune, from, to []int) string {
	if len(from) == 0 || len(line) <= to[len(to)-1] {
		return string(line)
	}
	var b strings.Builder
	for i := range from {
		left := line[from[i]]
		if i == 0 {
			left = line[0]
		}
		b.WriteRune(left)
		b.WriteString(string(line[from[i]+1 : to[i]]))
	}
	b.WriteRune(line[len(line)-1])
	return b.String()
}

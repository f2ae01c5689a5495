package queue

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// CheckName tells what keeps a name from being one of a queue.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case strings.HasSuffix(name, "/"):
		return fmt.Errorf("%q ends in a slash, and its keys would begin with two", name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%q contains a NUL byte", name)
	case len(name) > 1000:
		return fmt.Errorf("%.40q… has %d bytes, want 1,000 at the most", name, len(name))
	}
	return nil
}

// uniqueLength is how many characters make the key of a Unique entry one that never was.
const uniqueLength = 10

// key is one of this kind.
func (k Kind) key(prefix string, lease int64, slot int) string {
	if k.Unique {
		return fmt.Sprintf("%s%x-%s", prefix, lease, rand.Text()[:uniqueLength])
	}
	mark, count := "", ""
	if k.Shared {
		mark = sharedMark
	}
	if k.Size > 0 {
		count = fmt.Sprintf(".%dof%d", k.Weight, k.Size)
	}
	return fmt.Sprintf("%s%s%x-%d%s", prefix, mark, lease, slot, count)
}

// Excludes tells whether a key is of an entry of the queue that waits for all others, and
// all others for it.
func (q *Queue) Excludes(key string) bool {
	last, ours := strings.CutPrefix(key, q.prefix)
	return ours && !strings.HasPrefix(last, sharedMark) && !strings.Contains(last, ".")
}

// takes is what the rest of a key, after the queue's prefix, says that it takes.
func (k Kind) takes(rest string) weight {
	if k.Size == 0 {
		return weight{1, 0}
	}
	place, count, _ := strings.Cut(rest, ".")
	w, ok := parseCount(count)
	if !isLeaseSlot(place) || !ok {
		return weight{takesAll, 0}
	}
	return w
}

// parseCount reads what a key says after its dot, as in 3of10.
func parseCount(s string) (_ weight, ok bool) {
	taken, of, _ := strings.Cut(s, "of")
	n, ok1 := number(taken)
	size, ok2 := number(of)
	return weight{n, size}, ok1 && ok2 && n <= size && size <= MostSize
}

// shared tells whether the rest of a key is of an entry that is shared with others of its kind.
func shared(rest string) bool {
	place, marked := strings.CutPrefix(rest, sharedMark)
	return marked && place != "" && strings.IndexByte("0123456789abcdef", place[0]) >= 0
}

// number reads one from 1 to 99999 that is written as key writes it.
func number(s string) (n int, ok bool) {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// isLeaseSlot tells whether s is LEASE-SLOT.
func isLeaseSlot(s string) bool {
	lease, slot, _ := strings.Cut(s, "-")
	return lease != "" && len(lease) <= 16 && strings.Trim(lease, "0123456789abcdef") == "" &&
		(slot == "0" || strings.Trim(slot, "0123456789") == "" && slot != "" && slot[0] != '0')
}

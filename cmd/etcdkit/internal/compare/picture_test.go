package compare

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/golden"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// halfway is a race with one method that is over, one that goes on and one that has not begun.
func halfway() *Race {
	c := &Race{Options: Options{Clients: 2, Rounds: 4, Where: "a new cluster of 3 members"}, activity: "lock of clientv3", puts: 25, spent: 50 * time.Millisecond}
	for _, m := range methods() {
		c.runs = append(c.runs, &run{Method: m})
	}
	c.runs[0].result = &Result{Took: 16 * time.Millisecond}
	value := 0
	for i := range 8 {
		value++
		if i == 5 {
			value = -1 // the other had read 0
		}
		read := int64(i + 1)
		if i == 0 || i == 5 {
			read = 0
		}
		c.runs[0].result.Updates = append(c.runs[0].result.Updates, Update{Worker: i % 2, Read: read, Wrote: int64(i + 2), Value: value, At: time.Duration(i+1) * 2 * time.Millisecond, Waited: 3 * time.Millisecond})
	}
	for i, ms := range []time.Duration{50, 103, 151} {
		u := Update{Worker: i % 2, Read: int64(i*3 + 11), Wrote: int64(i*3 + 14), Value: 1 - i%2, At: ms * time.Millisecond, Waited: 98 * time.Millisecond}
		if i == 0 {
			u.Read = 0
		}
		c.runs[1].seen = append(c.runs[1].seen, u)
	}
	return c
}

// Look at a changed picture before you commit it: cat testdata/race-*.golden
func TestThePictureOfARaceLooksLikeItsGoldenFiles(t *testing.T) {
	s := halfway().Progress()
	plain := s.Picture(80, 24, out.Palette{})
	golden.Check(t, "race-halfway", strings.Join(plain, "\n")+"\n", *update)
	golden.Check(t, "race-halfway-wide", strings.Join(s.Picture(120, 40, out.Palette{}), "\n")+"\n", *update)
	coloured := s.Picture(80, 24, out.Colours())
	golden.Check(t, "race-halfway-coloured", strings.ReplaceAll(strings.Join(coloured, "\n"), "\033", "ESC")+"\n", *update)
	if len(plain)+2 > 24 || len(coloured) != len(plain) {
		t.Errorf("the picture has %d lines, %d in colours; want at most 22 and the same", len(plain), len(coloured))
	}
}

func TestALockThatHasLostNothingIsSafeWhileItsCounterIsNot0(t *testing.T) {
	s := halfway().Progress()
	if s.Methods[1].Counter == 0 || !s.OK || s.Unsafe() != nil {
		t.Errorf("OK: %v, %v, with the counter at %d; want true", s.OK, s.Unsafe(), s.Methods[1].Counter)
	}
}

func TestALockThatLosesAnUpdateIsAFailure(t *testing.T) {
	c := halfway()
	for _, m := range c.runs {
		m.result = c.runs[0].result // as if no lock had done anything
	}
	s := c.Progress()
	err := s.Unsafe()
	want := "the lock of clientv3 did not protect the counter: it ended at 1, and 5 of 8 updates were lost\nthe lock of etcdkit did not protect the counter: it ended at 1, and 5 of 8 updates were lost"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := strings.Join(s.Picture(80, 24, out.Palette{}), "\n"); !strings.Contains(got, "\nclientv3         5 of 8      1 ≠ 0 ") {
		t.Errorf("the result is not told:\n%s", got)
	}
}

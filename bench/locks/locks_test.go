package locks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { os.Exit(etcdtest.Main(m).Run()) }

func TestOnlyATurnAfterAnotherOnesIsAHandOver(t *testing.T) {
	var l history
	for _, client := range []int{3, 3, 5, 5, 3} {
		l.held(client, time.Now())
		l.leaving()
	}
	l.race()
	l.held(5, time.Now()) // in another race
	if l.changes != 2 || l.handOvers() != 50 || len(l.gaps) != 2 || l.turns != 6 {
		t.Errorf("3 3 5 5 3, and 5 in another race: got %d changes, %v %%, %d gaps in %d turns; want 2, 50 %%, 2 in 6", l.changes, l.handOvers(), len(l.gaps), l.turns)
	}
	if got := (&history{}).handOvers(); got != 0 {
		t.Errorf("no client: got %v %%, want 0", got)
	}
}

func TestTheWaitBeginsWithTheCallAndTheGapWithTheRelease(t *testing.T) {
	var l history
	l.held(1, time.Now())
	l.leaving()
	l.left = l.left.Add(-time.Second)
	l.held(2, time.Now().Add(-time.Minute))
	if wait, gap := l.waits.Quantile(1), l.gaps.Median(); wait < 60 || wait > 61 || gap < 1 || gap > 2 {
		t.Errorf("asked a minute ago, left a second ago: got a wait of %v s and a gap of %v s", wait, gap)
	}
}

// fake is a counter in memory under a lock, or under none.
type fake struct {
	lock  sync.Locker
	n     *int
	inAdd func()
}

func (f *fake) take(context.Context) error  { f.lock.Lock(); return nil }
func (f *fake) leave(context.Context) error { f.lock.Unlock(); return nil }
func (f *fake) add(_ context.Context, delta int) error {
	if f.inAdd != nil {
		f.inAdd()
	}
	*f.n += delta
	return nil
}

func TestARaceCountsUpAsOftenAsDown(t *testing.T) {
	var mu sync.Mutex
	var n int
	team := &team{members: []contender{&fake{lock: &mu, n: &n}, &fake{lock: &mu, n: &n}, &fake{lock: &mu, n: &n, inAdd: runtime.Gosched}}}
	var l history
	if err := race(t.Context(), team, &l, 300); err != nil {
		t.Fatal(err)
	}
	if n != 0 || l.turns != 300 || l.most != 1 {
		t.Errorf("300 turns under a lock: got %d in the counter, %d turns, %d holders; want 0, 300, 1", n, l.turns, l.most)
	}
}

// open is no lock.
type open struct{}

func (open) Lock()   {}
func (open) Unlock() {}

func TestHoldersAtOnceAreSeen(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	meet := func() { both.Done(); both.Wait() }
	team := &team{members: []contender{&fake{open{}, new(int), meet}, &fake{open{}, new(int), meet}}}
	var l history
	if err := race(t.Context(), team, &l, 2); err != nil {
		t.Fatal(err)
	}
	if l.most != 2 || l.holders != 0 {
		t.Errorf("two holders at once: got %d at once and %d left, want 2 and 0", l.most, l.holders)
	}
}

func TestARaceEndsWithItsFirstError(t *testing.T) {
	var calls int
	broken := &fake{lock: open{}, n: new(int), inAdd: func() { calls++ }}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("it rained")
	cancel(want)
	if err := race(ctx, &team{members: []contender{broken}}, &history{}, 10); !errors.Is(err, want) || calls > 0 {
		t.Errorf("got %v after %d turns, want %v after none", err, calls, want)
	}
}

func smoke(t *testing.T, s system, n, ops int) *contestant {
	t.Helper()
	e := &contestant{system: s}
	if err := e.with(t.Context(), n, func(team *team) error {
		if err := race(t.Context(), team, &e.history, ops); err != nil {
			return err
		}
		left, err := team.value(t.Context())
		e.off = left
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEachSystemOnEtcdExcludesAndCounts(t *testing.T) {
	cli, _ := etcdtest.New(t)
	at := newSite(cli.Endpoints())
	for _, s := range []system{
		&etcdkit{site: at, commit: true}, &etcdkit{site: at}, &etcdkit{site: at, commit: true, together: true},
		&mutex{site: at}, &mutex{at, connection}, &stm{at},
	} {
		t.Run(s.name(), func(t *testing.T) {
			e := smoke(t, s, 3, 12)
			if e.off != 0 || e.history.turns != 12 || e.history.most != 1 {
				t.Errorf("12 turns: got %d in the counter, %d turns, %d holders; want 0, 12, 1", e.off, e.history.turns, e.history.most)
			}
			one := smoke(t, s, 1, 3) // up, down, up
			if one.off != 1 {
				t.Errorf("3 turns: got %d in the counter, want 1: it is not counted", one.off)
			}
		})
	}
}

func TestOneSessionExcludesNoOne(t *testing.T) {
	cli, _ := etcdtest.New(t)
	e := smoke(t, &mutex{newSite(cli.Endpoints()), session}, 20, 200)
	if e.history.most < 2 {
		t.Errorf("20 goroutines, one session: got %d holder at once; want more, or the row's note is wrong", e.history.most)
	}
}

func TestAQuickRunMeasuresEveryRow(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Setenv("PATH", "") // neither redis-server nor java
	var out, talk bytes.Buffer
	args := []string{"-quick", "-o", "json"}
	if code := Run(t.Context(), args, &out, &talk); code != 0 {
		t.Fatalf("exit code %d, want 0; stderr:\n%s", code, talk.String())
	}
	var r report.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if want := len(contests) + 8; len(r.Groups) != want {
		t.Errorf("got %d tables, want %d", len(r.Groups), want)
	}
	for _, g := range r.Groups {
		if len(g.Rows) == 0 {
			t.Errorf("%s: %q", g.Name, g.Notes)
		}
		for _, row := range g.Rows {
			for _, c := range row.Cells {
				skipped := c.Words == "skipped" && strings.Contains(c.Why, "apt-get install")
				if c.Why != "" && !skipped {
					t.Errorf("%s, %s: %q: %s", g.Name, row.Name, c.Words, c.Why)
				}
			}
		}
	}
}

package health_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/health"
)

func isWarning(err error) bool { return errors.Is(err, health.ErrWarning) }

// scripted is a check whose probes say what the test sends: p, w or f.
func scripted() (health.Check, chan<- rune) {
	say := make(chan rune)
	return health.Check{Name: "scripted", Timeout: 24 * time.Hour, Probe: func(ctx context.Context, _ string) (string, error) {
		select {
		case r := <-say:
			return string(r), map[rune]error{'w': health.ErrWarning, 'f': errors.New("failed")}[r]
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}}, say
}

func TestStatusFollowsResultsInARow(t *testing.T) {
	for _, tc := range []struct {
		passing, warning, failing int
		results, want             string
	}{
		{results: "pfpffpfffp", want: "pwpwwpwwcp"}, // 1, 1, 3
		{results: "ffffp", want: "ccccp"},           // a first failure decides at once
		{results: "wpwwwwp", want: "wpwwwwp"},       // a warning is never critical
		{results: "pfffwffwfffp", want: "pwwcwwwwwwcp"},
		{passing: 3, results: "ppppfppfffpppp", want: "ccppwwwwwcccpp"},
		{passing: 2, results: "wwppfffwp", want: "cwwpwwccw"},
		{warning: 3, failing: 4, results: "pffpffff", want: "ppppppwc"},
		{warning: 2, failing: 2, results: "pfpffp", want: "ppppcp"},
		{warning: 2, failing: 2, results: "pwww", want: "ppww"},
		{failing: 1, results: "pfwfp", want: "pcwcp"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, say := scripted()
			c.PassingAfter, c.WarningAfter, c.CriticalAfter = tc.passing, tc.warning, tc.failing
			go func() { say <- rune(tc.results[0]) }() // for Open
			m := open(t, "", c)
			defer m.Close()
			var got strings.Builder
			changes, last := 0, ""
			for n, r := range tc.results {
				changed, was := m.Changed(), last
				if n > 0 {
					say <- r
					synctest.Wait()
				}
				result := m.Results()[0]
				last = string(result.Status)
				got.WriteByte(last[0])
				if result.Output != string(r) {
					t.Errorf("after %s of %+v: output %q, want the last", tc.results[:n+1], tc, result.Output)
				}
				select {
				case <-changed:
					changes++
					if was == last {
						t.Errorf("after %s of %+v: told of a change from %s to %s", tc.results[:n+1], tc, was, last)
					}
				default:
					if n > 0 && was != last {
						t.Errorf("after %s of %+v: not told that %s became %s", tc.results[:n+1], tc, was, last)
					}
				}
			}
			if got.String() != tc.want {
				t.Errorf("%+v: got %s", tc, &got)
			}
		})
	}
}

func TestProbesComeOftenUntilOneHasPassedAndThenNotInStep(t *testing.T) {
	phases := make(map[time.Duration]bool)
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			const until = 3 * time.Second // it fails, at first
			var at []time.Duration
			began := time.Now()
			m := open(t, "", health.Func("slow to start", func(context.Context) error {
				at = append(at, time.Since(began))
				if time.Since(began) < until {
					return errors.New("starting")
				}
				return nil
			}))
			time.Sleep(time.Minute)
			m.Close()
			if n := len(at); n < 10 {
				t.Fatalf("%d probes in a minute, want more", n)
			}
			up := 0
			for at[up] < until {
				up++
			}
			if up < 5 || at[1] > 200*time.Millisecond || at[up] > until+time.Second {
				t.Errorf("probes at %v: want several in quick succession before %v", at, until)
			}
			phase := at[up+1] - at[up]
			if phase > 5*time.Second {
				t.Errorf("the second pass came %v after the first, want less than an interval", phase)
			}
			phases[phase] = true
			for n := up + 2; n < len(at); n++ {
				if d := at[n] - at[n-1]; d != 5*time.Second {
					t.Errorf("%v between probes, want 5 s", d)
				}
			}
		})
	}
	if len(phases) < 5 {
		t.Errorf("of ten monitors that started together the second passes came after %v, want them spread", phases)
	}
}

func TestAProbeThatIgnoresItsContextFailsAndIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var started atomic.Int64
		m := open(t, "", health.Func("stuck", func(context.Context) error {
			if started.Add(1) > 1 {
				<-release
			}
			return nil
		}))
		for _, want := range []health.Status{health.Warning, health.Critical} {
			<-m.Changed()
			if r := m.Results()[0]; r.Status != want {
				t.Errorf("got %+v, want %s", r, want)
			}
		}
		if r := m.Results()[0]; !strings.HasPrefix(r.Output, "still runs after ") {
			t.Errorf("output %q", r.Output)
		}
		time.Sleep(time.Minute)
		if n := started.Load(); n != 2 {
			t.Errorf("started %d times, want once until it has returned", n-1)
		}
		begin := time.Now()
		if err := m.Close(); err == nil || !strings.Contains(err.Error(), "stuck still runs after 1m") {
			t.Errorf("close: %v, want it named", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("close took %v, want 1 s", took)
		}
		close(release)
	})
}

func TestAProbeThatReturnsLateIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		m := open(t, "", health.Func("late", func(context.Context) error {
			if calls.Add(1) == 2 {
				time.Sleep(7 * time.Second) // past its timeout, and past the next probe
			}
			return nil
		}))
		<-m.Changed()
		if r := m.Results()[0]; r.Status != health.Warning || r.Output != "no answer within 2s" {
			t.Errorf("got %+v, want a warning at the timeout", r)
		}
		<-m.Changed()
		if r := m.Results()[0]; r.Status != health.Passing || calls.Load() != 3 {
			t.Errorf("got %+v after %d calls, want a pass with the third", r, calls.Load())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAPanicIsAFailure(t *testing.T) {
	for text, f := range map[string]func(context.Context) error{
		"panic: no database":      func(context.Context) error { panic("no database") },
		"it ended its goroutine":  func(context.Context) error { runtime.Goexit(); return nil },
		"failed":                  func(context.Context) error { return errors.New("failed") },
		"queue is long":           func(context.Context) error { return fmt.Errorf("%w: queue is long", health.ErrWarning) },
		"no answer within 10ms":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"two lines, ‹\ufffd› bad": func(context.Context) error { return errors.New("two\r\nlines,\x00 ‹\xff› \x1b bad ") },
	} {
		c := health.Func("f", f)
		if strings.HasPrefix(text, "no answer") {
			c.Timeout = 10 * time.Millisecond
		}
		r := open(t, "", c).Results()[0]
		want := health.Critical
		if strings.HasPrefix(text, "queue") {
			want = health.Warning
		}
		if r.Status != want || r.Output != text || r.At.IsZero() {
			t.Errorf("got %+v, want %s with %q", r, want, text)
		}
	}
}

func TestAnOutputIsCutAtARune(t *testing.T) {
	for _, said := range []string{strings.Repeat("좋", 1000), "x" + strings.Repeat("좋", 1000), strings.Repeat("x", 1000)} {
		r := open(t, "", health.Func("f", func(context.Context) error { return errors.New(said) })).Results()[0]
		body, cut := strings.CutSuffix(r.Output, "…")
		if !cut || len(r.Output) > health.MaxOutput || len(r.Output) < health.MaxOutput-2 || !utf8.ValidString(body) || !strings.HasPrefix(said, body) {
			t.Errorf("got %q of %d bytes", r.Output, len(r.Output))
		}
	}
	fits := strings.Repeat("x", health.MaxOutput)
	if r := open(t, "", health.Func("f", func(context.Context) error { return errors.New(fits) })).Results()[0]; r.Output != fits {
		t.Errorf("got %q, want all of it", r.Output)
	}
}

func TestOpenEndsWithItsContextAndNamesTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var probe context.Context
		m, err := health.Open(ctx, "h:1", health.Func("quick", func(context.Context) error { return nil }), health.Func("slow", func(ctx context.Context) error {
			probe = ctx
			<-ctx.Done()
			return ctx.Err()
		}))
		if m != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow has no result yet") {
			t.Errorf("got %v, %v, want the deadline and the name", m, err)
		}
		if probe.Err() == nil {
			t.Error("the probe goes on")
		}
	})
}

func TestAfterCloseNothingIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int64
		m := open(t, "", health.Func("f", func(context.Context) error { probes.Add(1); return nil }))
		time.Sleep(time.Minute)
		changed := m.Changed()
		for range 2 {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		<-changed
		<-m.Changed()
		was := probes.Load()
		time.Sleep(time.Minute)
		if after := probes.Load() - was; after != 0 || was < 10 {
			t.Errorf("%d probes before Close and %d after", was, after)
		}
		if r := m.Results(); len(r) != 1 || r[0].Status != health.Passing {
			t.Errorf("results %v, want the last ones", r)
		}
	})
}

func TestWorstIsTheFirstOfTheWorst(t *testing.T) {
	of := func(all ...health.Status) (results []health.Result) {
		for n, s := range all {
			results = append(results, health.Result{Name: fmt.Sprint(n), Status: s})
		}
		return results
	}
	for _, tc := range []struct {
		results []health.Result
		name    string
		status  health.Status
	}{
		{nil, "", health.Passing},
		{of(health.Passing, health.Passing), "0", health.Passing},
		{of(health.Passing, health.Warning, health.Warning), "1", health.Warning},
		{of(health.Warning, health.Critical, health.Passing, health.Critical), "1", health.Critical},
	} {
		if w := health.Worst(tc.results); w.Name != tc.name || w.Status != tc.status {
			t.Errorf("of %v: got %v", tc.results, w)
		}
	}
}

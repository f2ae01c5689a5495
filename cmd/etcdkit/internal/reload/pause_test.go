package reload_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
)

func TestAPauseIsMinOrMinAndMax(t *testing.T) {
	for text, want := range map[string]reload.Pause{
		"0": {}, "200ms": {Min: 200 * time.Millisecond, Max: 800 * time.Millisecond}, "2s:10s": {Min: 2 * time.Second, Max: 10 * time.Second}, "1s:1s": {Min: time.Second, Max: time.Second},
	} {
		if got, err := reload.ParsePause(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "2", "2s:", ":2s", "2s:1s", "-1s", "1s:2s:3s"} {
		if got, err := reload.ParsePause(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	for _, text := range []string{"200ms", "2s:10s"} {
		if p, _ := reload.ParsePause(text); p.String() != text {
			t.Errorf("%q is written as %q", text, p)
		}
	}
}

func TestChangesAreGatheredUntilNothingChangesForMinButNotBeyondMax(t *testing.T) {
	for _, tc := range []struct {
		name    string
		every   time.Duration
		changes int
		want    time.Duration
	}{
		{"one change", time.Second, 1, 2 * time.Second},
		{"three close together", time.Second, 3, 4 * time.Second},
		{"changes that do not stop", time.Second, 100, 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := reload.NewGatherer(reload.Pause{Min: 2 * time.Second, Max: 10 * time.Second})
				if g.Waiting() {
					t.Error("it waits, and nothing has changed")
				}
				begin := time.Now()
				tick := time.NewTicker(tc.every)
				defer tick.Stop()
				g.Changed()
				for left := tc.changes - 1; ; {
					select {
					case <-tick.C:
						if left--; left >= 0 {
							g.Changed()
						}
						continue
					case <-g.C():
					}
					break
				}
				if got := time.Since(begin); got != tc.want {
					t.Errorf("over after %v, want %v", got, tc.want)
				}
				if g.Stop(); g.Waiting() {
					t.Error("it still waits after Stop")
				}
			})
		})
	}
}

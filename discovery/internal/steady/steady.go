// Package steady makes calls at a steady rate, for tests: what it costs when a server fails shows in
// how they end.
package steady

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// Call is a call that has ended.
type Call struct {
	Began, Ended time.Time
	By           string // the server that answered
	Err          error
}

// Calls keeps the calls that have ended.
type Calls struct {
	mu    sync.Mutex
	ended []Call
}

// Start makes so many calls a second until the test ends. call must end by itself.
func Start(t testing.TB, rate int, call func() (by string, err error)) *Calls {
	t.Helper()
	c := &Calls{}
	var calls sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	calls.Go(func() { // ends with the test
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				calls.Go(func() { c.make(call) }) // ends with the call
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		stop()
		calls.Wait()
	})
	return c
}

func (c *Calls) make(call func() (by string, err error)) {
	made := Call{Began: time.Now()}
	made.By, made.Err = call()
	made.Ended = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, made)
}

// All returns the calls that have ended so far.
func (c *Calls) All() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ended)
}

// Answered counts the calls that a server has answered since then.
func (c *Calls) Answered(by string, since time.Time) (n int) {
	for _, call := range c.All() {
		if call.Err == nil && call.By == by && call.Ended.After(since) {
			n++
		}
	}
	return n
}

// Failures returns how many calls failed, when the first of them ended, and how many of those for which
// counts returns true began clearly after that.
func Failures(calls []Call, counts func(Call) bool) (failed, late int, first time.Time) {
	for _, call := range calls {
		if call.Err != nil {
			if failed++; first.IsZero() || call.Ended.Before(first) {
				first = call.Ended
			}
		}
	}
	const moment = 50 * time.Millisecond
	for _, call := range calls {
		if call.Err != nil && call.Began.After(first.Add(moment)) && counts(call) {
			late++
		}
	}
	return failed, late, first
}

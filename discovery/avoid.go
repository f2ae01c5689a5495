package discovery

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// usage is what a view knows from the use of an instance. It outlives changes of the record.
type usage struct {
	pending    atomic.Int32             // requests under way: picked by LeastPending, not yet reported
	current    atomic.Pointer[Instance] // what PickFor returns; nil: nothing
	listNumber uint64                   // of the last list that PickFor chooses from; guarded by View.mu

	fails   atomic.Int32 // failures in a row, each after the pause of the one before; 0: it does not fail
	refused atomic.Int32 // refusals in a row
	until   atomic.Int64 // end of its pause, on uptime; 0: it has none
	trial   atomic.Int64 // when the next pick may try it after the pause, on uptime
}

const (
	// Pauses of an instance that failed grow from the first to the second.
	firstPause = time.Second
	maxPause   = 30 * time.Second
	// probation follows the pause: for this long one pick at a time tries the instance. A success
	// ends it. Without any report the instance takes all its picks again afterwards.
	probation = 30 * time.Second
	// So many refusals in a row are a failure.
	refusals = 3
)

// began is when uptime was 0.
var began = time.Now()

func uptime() int64 { return int64(time.Since(began)) }

// avoided reports whether the instance takes no pick at the moment. It reads the clock only if it must.
func (u *usage) avoided() bool {
	until := u.until.Load()
	if until == 0 {
		return false
	}
	now := uptime()
	return now < until || now < until+int64(probation) && now < u.trial.Load()
}

// take reports whether the instance takes this pick. After its pause it takes one at a time.
func (u *usage) take() bool {
	until := u.until.Load()
	if until == 0 {
		return true
	}
	now := uptime()
	switch {
	case now < until:
		return false
	case now >= until+int64(probation):
		return true
	}
	next := u.trial.Load()
	return now >= next && u.trial.CompareAndSwap(next, now+int64(pauseAfter(u.fails.Load())))
}

// pauseAfter is the pause after n failures in a row.
func pauseAfter(n int32) time.Duration {
	return min(firstPause<<(min(max(n, 1), 6)-1), maxPause)
}

// failed begins a pause of at least the given length, unless the instance is in one. It returns
// until when picks must ask whether the instance is avoided, and whether this was its first failure.
func (u *usage) failed(least time.Duration) (until int64, first bool) {
	now := uptime()
	was := u.until.Load()
	if now >= was && u.until.CompareAndSwap(was, now+int64(firstPause)) { // of requests that fail at the same time the first counts
		n := u.fails.Add(1)
		first = n == 1
		end := now + int64(max(pauseAfter(n), least))
		u.trial.Store(end)
		u.until.Store(end)
	}
	return u.until.Load() + int64(probation), first
}

// succeeded ends the pause and forgets the failures. It reports whether there were any.
func (u *usage) succeeded() bool {
	if u.refused.Load() != 0 {
		u.refused.Store(0)
	}
	if u.fails.Load() == 0 && u.until.Load() == 0 {
		return false
	}
	u.fails.Store(0)
	u.until.Store(0)
	return true
}

// anyAvoided reports whether any instance may be avoided. If not, a pick need not ask each.
func (v *View) anyAvoided() bool {
	until := v.avoidedUntil.Load()
	if until != 0 && uptime() >= until {
		v.avoidedUntil.CompareAndSwap(until, 0)
		return false
	}
	return until != 0
}

// RefusedError is an error for Report: the instance answered that it cannot serve at the moment, as
// HTTP's 503 says. One such answer can be about the request, so Pick avoids the instance after the
// third in a row. One that says when to come back counts immediately. When half of the instances are
// avoided, no other one is avoided for this reason: the rest could not take the load of all.
type RefusedError struct {
	Err   error         // what the instance answered
	After time.Duration // for how long it asks to be avoided, up to 30 s; 0: it did not say
}

func (r *RefusedError) Error() string { return r.Err.Error() }
func (r *RefusedError) Unwrap() error { return r.Err }

// Report says how the use of an instance ended. nil is a success. After an error Pick avoids the
// instance, as long as there are others: for a second, and for twice as long with each further
// failure in a row, up to 30 s. After that pause one Pick at a time tries it, until a success is
// reported, or half a minute has passed without a failure. An instance that is Expired is avoided until
// it is registered again.
//
// So report errors which show that the instance cannot serve, such as a refused connection or a
// timeout, and not an answer that happens to be an error. For answers such as HTTP's 503 use RefusedError.
// context.Canceled is not a failure: the caller gave the request up.
//
// With LeastPending each Pick needs one Report. With the other policies it is optional.
func (v *View) Report(i *Instance, err error) {
	if i == nil || i.usage == nil {
		return
	}
	if v.opts.Policy == LeastPending && i.usage.pending.Add(-1) < 0 {
		i.usage.pending.Add(1) // reported twice, or never picked
	}
	switch {
	case err == nil:
		v.ReportRecovery(i)
	case !errors.Is(err, context.Canceled):
		v.ReportFailure(i, err)
	}
}

// ReportFailure makes Pick avoid an instance as Report does with an error, but ends no request: it is for a
// failure that a probe has found.
func (v *View) ReportFailure(i *Instance, err error) {
	if i == nil || i.usage == nil {
		return
	}
	v.failures.Add(1)
	v.failed(i, err)
}

// ReportRecovery makes Pick choose an instance again that it avoids, because a probe or a new connection
// has shown that it works. It ends no request.
func (v *View) ReportRecovery(i *Instance) {
	if i == nil || i.usage == nil || !i.usage.succeeded() {
		return
	}
	v.log.Info("the instance is used again", v.about(i)...)
	if v.allAvoided.Swap(false) {
		v.log.Info("an instance of the service works again", "service", v.service)
	}
}

// Failing reports whether an instance has failed, and no success has been reported since: it is
// avoided, or is being tried again.
func (v *View) Failing(i *Instance) bool {
	return i != nil && i.usage != nil && i.usage.fails.Load() != 0
}

// failed makes picks avoid an instance.
func (v *View) failed(i *Instance, err error) {
	var pause time.Duration
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		if i.usage.refused.Add(1) < refusals && refused.After <= 0 || !v.halfRemain(i) {
			return
		}
		pause = min(refused.After, maxPause)
	case i.Status == Expired:
		pause = v.opts.KeepExpired // it is most likely dead
	}
	until, first := i.usage.failed(pause)
	for {
		if last := v.avoidedUntil.Load(); last >= until || v.avoidedUntil.CompareAndSwap(last, until) {
			break
		}
	}
	if !first {
		return
	}
	v.log.Warn("the instance is avoided", append(v.about(i), "because", quote.Head(err.Error(), maxCause))...)
	if !v.othersLeft() && v.allAvoided.CompareAndSwap(false, true) {
		v.log.Warn("all instances fail: all of them are tried", "service", v.service, "instances", len(v.current.Load().choices.all.of))
	}
}

// maxCause is how much of an error is logged.
const maxCause = 1000

// about names an instance in the log.
func (v *View) about(i *Instance) []any {
	return []any{"service", v.service, "instance", quote.Word(i.ID), "addr", quote.Word(i.Addr)}
}

// halfRemain reports whether half of the instances are still chosen if this one is avoided. Of many
// instances it asks some.
func (v *View) halfRemain(i *Instance) bool {
	const most = 64
	of := v.current.Load().choices.all.of
	step := max(1, len(of)/most)
	asked, avoided := 0, 1 // this one
	for n := 0; n < len(of); n += step {
		asked++
		if of[n].usage != i.usage && of[n].usage.avoided() {
			avoided++
		}
	}
	return 2*avoided <= asked
}

// othersLeft reports whether an instance is not avoided.
func (v *View) othersLeft() bool {
	for _, i := range v.current.Load().choices.all.of {
		if i.usage.until.Load() == 0 {
			return true
		}
	}
	return false
}

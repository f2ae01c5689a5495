package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Periods of Every.
const (
	leastPeriod = 2 * time.Second // etcd's minimum for a lease, with its default election timeout
	mostPeriod  = 10 * 365 * 24 * time.Hour
)

// isPeriod tells whether a lease can last so long.
func isPeriod(d time.Duration) bool {
	return d >= leastPeriod && d <= mostPeriod && d%time.Second == 0
}

// Run is a run of Every that counts, and when the next one is due.
//
// Its texts are what other processes wrote, of at most 256 bytes each. Print them with %q, or use String.
type Run struct {
	// Here says that this call ran the function. Otherwise a run of another call counts, and this one is
	// not due yet.
	Here bool `json:"here"`
	// DueIn is how long it takes until the next run is due, at most: etcd tells it in whole seconds. 0: it
	// is due now, as this one took longer than the period.
	DueIn   time.Duration `json:"-"`     // in JSON "due_in_seconds"
	Token   int64         `json:"token"` // of the hold under which it ran
	Host    string        `json:"host"`
	PID     int           `json:"pid"`
	Command string        `json:"command"`
	Started time.Time     `json:"started,omitzero"` // by the clock of its host: for people
}

// MarshalJSON adds DueIn.
func (r Run) MarshalJSON() ([]byte, error) {
	type plain Run
	return json.Marshal(struct {
		plain
		DueIn float64 `json:"due_in_seconds"`
	}{plain(r), r.DueIn.Seconds()})
}

// String is one line for people: which process ran, and when the next run is due.
func (r Run) String() string {
	text := "a process that does not identify itself"
	if r.PID != 0 {
		text = fmt.Sprintf("%s (pid %d on host %s)", quote.Word(r.Command), r.PID, quote.Word(r.Host))
	}
	if !r.Started.IsZero() {
		text += " at " + stamp(r.Started)
	}
	return fmt.Sprintf("run by %s, due in %v", text, r.DueIn.Round(time.Second))
}

// Every calls f once per period in the whole fleet, under the lock. If a run of this period is complete, f
// is not called, and the result tells which run that was and when the next one is due: that is no error.
// Otherwise Every waits for the lock, looks again, and calls f. Every does not loop: call it again when
// the next run may be due.
//
//	run, err := m.Every(ctx, 5*time.Minute, report)
//	if err == nil && !run.Here {
//		log.Println("not due:", run)
//	}
//
// A period counts from the start of its run. What counts is the run's mark, the key Name().every, on a
// lease of the length of the period, so no wall clock is compared. The lease is granted before f is called,
// and the mark is written in the transaction that releases the lock: a run that dies, that returns an error
// or that loses the lock leaves no mark, and the next call repeats it. So f may be begun more than once in a
// period, and is completed once. To write its results in the same transaction, f calls Commit of its hold,
// which then writes the mark as well; its ops may be 126. A run that f ends with Release leaves no mark.
//
// When f takes longer than the period, the next run is due at once. No mark is written then, and the run is
// complete all the same; but a Commit of f's own that arrives just when the period ends is
// rpctypes.ErrLeaseNotFound: nothing was applied.
//
// The period is of whole seconds, 2 s to ten years, or the error is ErrInvalid. (etcd extends one that is
// shorter than 1.5 times its election timeout.) Use one period for a name: until a mark ends, a call with
// another period is not due either. etcd ends a lease up to 1.5 s late (4 s if it is busy), and a new leader begins each
// lease again: the next run can be late by that, and is never early. For a job that must run in each
// calendar period, name the periods instead: see "Run a job once per schedule" in docs/locks.md. A timer
// whose interval is the period itself asks just before the mark ends, now and then: give Every a period
// that is a little shorter.
//
// The ctx of f ends with cause ErrLost when the lock is lost, as that of Do. After an error the result is
// the zero Run: that of f, of Acquire, or of Commit. After ErrUnknown the mark may have been written.
func (m *Mutex) Every(ctx context.Context, period time.Duration, f func(context.Context, *Hold) error) (Run, error) {
	return m.every(ctx, period, m.Acquire, f)
}

// TryEvery is Every for a call that does not wait: if a run is due, and another client holds the lock or
// waits for it, the error is ErrTaken. See [Mutex.TryAcquire].
func (m *Mutex) TryEvery(ctx context.Context, period time.Duration, f func(context.Context, *Hold) error) (Run, error) {
	return m.every(ctx, period, func(ctx context.Context, _ ...clientv3.Op) (*Hold, error) { return m.TryAcquire(ctx) }, f)
}

const everyVerb = "run under"

func (m *Mutex) every(ctx context.Context, period time.Duration, acquire func(context.Context, ...clientv3.Op) (*Hold, error), f func(context.Context, *Hold) error) (Run, error) {
	if err := m.nested(ctx, queue.Kind{}); err != nil {
		return Run{}, err
	}
	if mark, err := m.lookForMark(ctx, period); mark != nil || err != nil {
		return m.notDue(ctx, mark, err)
	}
	h, err := acquire(ctx, clientv3.OpGet(m.markKey()))
	if err != nil {
		return Run{}, err
	}
	var mark *queue.KeyValue // of a run that was completed while this call waited
	run := &markedRun{hold: h, period: period}
	err = h.do(ctx, toWrite, func(ctx context.Context, h *Hold) (err error) {
		if mark, err = run.mark(ctx); mark != nil || err != nil {
			return err
		}
		if err := run.begin(ctx); err != nil {
			return err
		}
		run.err = errPanicked // until f has returned
		run.err = f(ctx, h)
		return run.err
	}, run.end)
	switch {
	case err == nil && mark != nil:
		return m.notDue(ctx, mark, nil)
	case err != nil:
		return Run{}, err
	}
	return run.result()
}

// errPanicked stands for the error of a function that has not returned one.
var errPanicked = errors.New("panicked")

// markKey is where the mark of a run stands. It does not begin with the lock's name and a slash, where it
// would be an entry of the queue.
func (l *lock) markKey() string { return l.handle.Name + ".every" }

// lookForMark checks the period, and reads the mark without the lock: a call that is not due does not wait
// in the queue. If etcd does not answer, Acquire waits for it.
func (m *Mutex) lookForMark(ctx context.Context, period time.Duration) (*queue.KeyValue, error) {
	ctx, done, err := m.begin(ctx, everyVerb, nil)
	if err != nil {
		return nil, err
	}
	defer done()
	if !isPeriod(period) {
		return nil, fmt.Errorf("%w: run under %q every %v: want whole seconds, %v to %v", ErrInvalid, m.handle.Name, period, leastPeriod, mostPeriod)
	}
	mark, err := m.handle.Queue.Get(ctx, m.markKey())
	if err != nil && ask.Permanent(err) {
		return nil, m.handle.Explain(everyVerb, err)
	}
	return mark, nil
}

// notDue is the result of a call that found a mark.
func (m *Mutex) notDue(ctx context.Context, mark *queue.KeyValue, err error) (Run, error) {
	if err != nil {
		return Run{}, err
	}
	ctx, done, err := m.begin(ctx, everyVerb, nil)
	if err != nil {
		return Run{}, err
	}
	defer done()
	if mark.Lease == 0 { // not of a run: it would never end
		return Run{}, m.handle.Errorf(everyVerb, "the mark %s is not on a lease and never ends: delete it", quote.Text(string(mark.Key)))
	}
	left, err := m.handle.Queue.Remaining(ctx, clientv3.LeaseID(mark.Lease))
	if err != nil {
		return Run{}, m.handle.Explain(everyVerb, errtext.Errorf("ask how long the mark %s lasts: %w", quote.Text(string(mark.Key)), err))
	}
	run := parseMark(mark.Value)
	run.DueIn = left
	return run, nil
}

// markValue is what a mark says, for people.
type markValue struct {
	Token   int64  `json:"token"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Started string `json:"started"`
	Period  string `json:"period"`
}

// parseMark reads what another process wrote.
func parseMark(value []byte) Run {
	var v markValue
	if len(value) > queue.KeptValue || json.Unmarshal(value, &v) != nil || v.PID <= 0 {
		return Run{}
	}
	run := Run{Token: v.Token, Host: bounded(v.Host, mostText), PID: v.PID, Command: bounded(v.Command, mostText)}
	run.Started, _ = time.Parse(time.RFC3339, v.Started) // zero where it is none
	return run
}

// markedRun is a run of Every, from when its hold began.
type markedRun struct {
	hold   *Hold
	period time.Duration

	began time.Time        // before the lease was asked for
	lease clientv3.LeaseID // of the mark; 0: the run has not begun
	lasts time.Duration    // how long etcd lets it live
	err   error            // of f

	mu        sync.Mutex
	marked    bool  // the mark was written
	unknown   bool  // it may have been
	notMarked error // why Commit did not complete the run
}

// mark is that of an earlier run, or nil. Acquire has read it with the lock; TryAcquire reads nothing.
func (r *markedRun) mark(ctx context.Context) (*queue.KeyValue, error) {
	if reads := r.hold.Reads(); len(reads) > 0 {
		if kvs := reads[0].Kvs; len(kvs) > 0 {
			return kvs[0], nil
		}
		return nil, nil
	}
	l := r.hold.lock
	mark, err := l.handle.Queue.Get(ctx, l.markKey())
	if err != nil {
		return nil, l.handle.Explain(everyVerb, errtext.Errorf("read the mark %s: %w", quote.Text(l.markKey()), err))
	}
	return mark, nil
}

// begin has the period begin.
func (r *markedRun) begin(ctx context.Context) (err error) {
	h := r.hold.lock.handle
	r.began = time.Now()
	if r.lease, r.lasts, err = h.Queue.Grant(ctx, r.period); err != nil {
		return h.Explain(everyVerb, errtext.Errorf("grant a lease for its mark: %w", err))
	}
	r.hold.run = r
	return nil
}

// left is what is left of the period.
func (r *markedRun) left() time.Duration { return max(r.lasts-time.Since(r.began), 0) }

// ops are what completes the run.
func (r *markedRun) ops() []clientv3.Op {
	if r == nil || r.left() == 0 {
		return nil
	}
	l := r.hold.lock
	value, err := json.Marshal(markValue{r.hold.Token(), l.owner.Host, l.owner.PID, l.owner.Command, stamp(r.began), r.period.String()})
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	return []clientv3.Op{clientv3.OpPut(l.markKey(), string(value), clientv3.WithLease(r.lease))}
}

// committed records how a Commit with so many of ops ended.
func (r *markedRun) committed(ops int, err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marked = ops > 0 && err == nil
	r.unknown = ops > 0 && errors.Is(err, ErrUnknown)
	r.notMarked = err
}

// end ends the hold: with the mark if the run is complete. It revokes the lease of a mark that was not
// written.
func (r *markedRun) end(ctx context.Context) error {
	if r.lease == 0 {
		return r.hold.Release(ctx)
	}
	var err error
	overdue := false // the period is over, and the lock was released
	if r.err != nil {
		err = r.hold.Release(ctx)
	} else if !r.hold.released.Load() { // otherwise f ended it
		if _, err = r.hold.Commit(ctx); errors.Is(err, rpctypes.ErrLeaseNotFound) {
			overdue, err = true, nil
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if overdue {
		r.notMarked = nil
	}
	if q := r.hold.lock.handle.Queue; !r.marked && !r.unknown && q.Revoke(ctx, r.lease) != nil {
		q.RevokeLater(r.lease)
	}
	return err
}

// result is that of a run whose function returned nil.
func (r *markedRun) result() (Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.notMarked != nil {
		return Run{}, r.notMarked
	}
	o := r.hold.lock.owner
	run := Run{Here: true, Token: r.hold.Token(), Host: o.Host, PID: o.PID, Command: o.Command, Started: r.began}
	if r.marked {
		run.DueIn = r.left()
	}
	return run, nil
}

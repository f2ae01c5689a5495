package discovery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/registry"
)

// Expired is the status of an instance that is registered no longer, and kept. It stands in
// lists only, never in etcd.
//
// When more than half of a service's serving instances, and two at least, vanish within half a
// minute without having said draining, it is less likely that they are dead than that etcd had
// a bad minute, in which no lease could be renewed. So they stay, for Options.KeepExpired and
// with this status, until they are registered again (or somebody else is at their address), and
// Pick goes on choosing them: see Report for those that are dead indeed. Only what package registry
// has registered is kept: raw values and other libraries' records cannot say draining.
const Expired registry.Status = "expired"

// Instance is an instance as a View lists it: what is registered, and how this process fares
// with it.
type Instance struct {
	registry.Instance
	load   *load
	weight int64
}

func newInstance(i registry.Instance, l *load) *Instance {
	return &Instance{i, l, int64(max(1, i.Weight))}
}

// String names the instance for people.
func (i *Instance) String() string {
	where := i.Addr
	if i.Raw != "" {
		where = strconv.Quote(i.Raw)
	}
	return fmt.Sprintf("%s/%s at %s, %s", i.Service, i.ID, where, i.Status)
}

// load is how a view's users fare with an instance. It stays through changes of the record.
type load struct {
	pending atomic.Int32             // picked by LeastPending, and not yet reported
	warm    atomic.Int64             // when it has cooled down, on uptime; 0: it need not
	fails   atomic.Int32             // in a row, each after the pause of the one before
	now     atomic.Pointer[Instance] // what PickFor gives; nil: nothing
	list    uint64                   // the last one that it was to be picked from; guarded by View.mu
}

// Pauses of an instance that failed grow from the first to the second.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// began makes uptime a number.
var began = time.Now()

func uptime() int64 { return int64(time.Since(began)) }

// cooling tells whether an instance has just failed. It asks for the time only if it must.
func (l *load) cooling() bool {
	warm := l.warm.Load()
	return warm != 0 && uptime() < warm
}

// failed returns when the instance has cooled down.
func (l *load) failed() int64 {
	if !l.cooling() { // of requests that fail together the first counts
		n := min(l.fails.Add(1), 6)
		l.warm.Store(uptime() + int64(min(firstPause<<(n-1), maxPause)))
	}
	return l.warm.Load()
}

func (l *load) succeeded() {
	if l.fails.Load() != 0 {
		l.fails.Store(0)
		l.warm.Store(0)
	}
}

// cooling tells whether any instance may have just failed: a pick need not look at each one.
func (v *View) cooling() bool {
	warm := v.warm.Load()
	if warm != 0 && uptime() >= warm {
		v.warm.CompareAndSwap(warm, 0)
		return false
	}
	return warm != 0
}

// Report tells how the use of an instance ended. nil is a success. An error has Pick avoid the
// instance, as long as there are others: for a second, and for twice as long with each further
// failure in a row, up to 30 s. So report what says that the instance cannot serve, such as a
// refused connection or a timeout, and not an answer that happens to be an error.
// context.Canceled is no failure: the caller changed its mind.
//
// With LeastPending every Pick wants one Report. With the other policies it is optional.
func (v *View) Report(i *Instance, err error) {
	if i == nil || i.load == nil {
		return
	}
	if v.opts.Policy == LeastPending && i.load.pending.Add(-1) < 0 {
		i.load.pending.Add(1) // reported twice, or never picked
	}
	switch {
	case err == nil:
		i.load.succeeded()
	case !errors.Is(err, context.Canceled):
		v.failures.Add(1)
		for warm := i.load.failed(); ; {
			if last := v.warm.Load(); last >= warm || v.warm.CompareAndSwap(last, warm) {
				break
			}
		}
	}
}

// Recovered has Pick choose an instance again that Report has it avoid: it is known to be well, from
// a probe or a new connection. It ends no request.
func (v *View) Recovered(i *Instance) {
	if i != nil && i.load != nil {
		i.load.succeeded()
	}
}

package discovery

import (
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// ErrNone: the service has no instance, or with Options.OnlyServing none that takes requests. Where it matters, State tells whether that is fresh.
var ErrNone = errors.New("discovery: no instance")

// Policy is how Pick chooses among the instances that take requests.
type Policy int

const (
	// Weighted is round robin in proportion to weights. An instance without a weight, or with
	// one of 0, has the weight 1: one that shall take nothing says so by its status.
	Weighted Policy = iota
	// RoundRobin is each in turn, whatever its weight.
	RoundRobin
	// LeastPending draws two by weight and takes the one with fewer requests under way, for its
	// weight ("the power of two choices", Mitzenmacher 1996): it evens out slow instances and
	// slow requests. Every Pick wants one Report, which ends the request.
	LeastPending
)

// Pick chooses an instance by Options.Policy: of those whose status is passing or warning, and
// of those that are kept (see Expired); of all, if there are none, unless Options has OnlyServing. One that has just failed (see
// Report) is avoided, as long as there are others. It is shared: do not change it. The error is
// ErrNone.
//
// With Options.Zone, instances of that zone are preferred, as long as they are enough: callers
// are taken to be spread evenly over the n zones, so each is expected to have 1/n of the weight,
// and takes 1.4 times what it has. So with 71 % of that 1/n or more all picks stay in the zone;
// of what is missing below it, they spill over to the others.
func (v *View) Pick() (*Instance, error) {
	c := &v.now.Load().choices
	k := v.picks.Add(1)
	if len(c.all.of) == 0 {
		return nil, v.none()
	}
	part, cooling := c.part(k), v.cooling()
	if v.opts.Policy != LeastPending {
		i := part.at(k)
		if cooling && !i.load.take() {
			i = c.instead(i, mix(k))
		}
		return i, nil
	}
	s := part.freer(k, cooling)
	if cooling && !s.load.take() {
		i := c.instead(s.Instance, mix(k))
		i.load.pending.Add(1)
		return i, nil
	}
	s.load.pending.Add(1)
	return s.Instance, nil
}

// none is the error of a pick that finds nothing to choose.
func (v *View) none() error {
	l := v.now.Load()
	if n := len(l.instances); n > 0 {
		return fmt.Errorf("%w of %q that takes requests: all %d are critical, in maintenance or draining", ErrNone, v.service, n)
	}
	return fmt.Errorf("%w of %q", ErrNone, v.service)
}

// PickFor chooses the same instance for the same key, in every process with the same list, by
// consistent hashing: when instances come or go, hardly any other key moves. Weights count, zones
// do not. While a key's instance has just failed, drains or is critical, others stand in for it,
// each for a part of its keys. The error is ErrNone.
func (v *View) PickFor(key string) (*Instance, error) {
	table := v.table.Load()
	if table == nil {
		table = v.startTable()
	}
	hash := xxhash.Sum64String(key)
	for range 8 {
		if len(table.slots) == 0 {
			break
		}
		if i := table.at(hash).now.Load(); i != nil && i.load.take() {
			v.picks.Add(1)
			if v.opts.Policy == LeastPending {
				i.load.pending.Add(1)
			}
			return i, nil
		}
		hash = mix(hash)
	}
	return v.Pick() // hardly any of them is good
}

// seat is what LeastPending looks at, in one place: at 10,000 instances each more to look at is
// a miss of the cache.
type seat struct {
	*Instance
	load   *load
	weight int64
}

// freer draws two and is the one with less under way.
func (a *alias) freer(k uint64, cooling bool) *seat {
	one, other := &a.seats[a.place(k)], &a.seats[a.place(mix(k))]
	if cooling {
		if cold := one.load.avoided(); cold != other.load.avoided() {
			if cold {
				return other
			}
			return one
		}
	}
	if int64(other.load.pending.Load())*one.weight < int64(one.load.pending.Load())*other.weight {
		return other
	}
	return one
}

func seats(of []*Instance) []seat {
	all := make([]seat, len(of))
	for n, i := range of {
		all[n] = seat{i, i.load, i.weight}
	}
	return all
}

// choices are what Pick chooses among. They are made anew with each list.
type choices struct {
	all       alias // of every zone
	near, far alias // in the view's zone, and in the others; empty where zones do not matter
	stay      uint64
}

// zoneFactor is how much more than its share a zone takes before picks spill over. It is
// Envoy's overprovisioning factor.
const zoneFactor = 1.4

func (o *Options) choices(list []*Instance) choices {
	table := newAlias
	switch o.Policy {
	case RoundRobin:
		table = func(of []*Instance) alias { return alias{of: of} }
	case LeastPending:
		table = func(of []*Instance) alias {
			a := newAlias(of)
			a.seats = seats(of)
			return a
		}
	}
	serving := filter(list, func(i *Instance) bool { return i.TakesRequests() })
	if len(serving) == 0 && !o.OnlyServing {
		serving = list // better than nothing
	}
	if o.Zone == "" {
		return choices{all: table(serving)}
	}
	zones, near, total := make(map[string]bool), 0.0, 0.0
	for _, i := range serving {
		zones[i.Zone] = true
		total += float64(i.weight)
		if i.Zone == o.Zone {
			near += float64(i.weight)
		}
	}
	if len(zones) == 1 || near == 0 {
		return choices{all: table(serving)}
	}
	return choices{
		all:  table(serving),
		near: table(filter(serving, func(i *Instance) bool { return i.Zone == o.Zone })),
		far:  table(filter(serving, func(i *Instance) bool { return i.Zone != o.Zone })),
		stay: uint64(min(1, zoneFactor*near/total*float64(len(zones))) * math.MaxUint32),
	}
}

// filter returns the list itself when all of it is wanted.
func filter(list []*Instance, wanted func(*Instance) bool) []*Instance {
	n := 0
	for _, i := range list {
		if wanted(i) {
			n++
		}
	}
	if n == len(list) {
		return list
	}
	some := make([]*Instance, 0, n)
	for _, i := range list {
		if wanted(i) {
			some = append(some, i)
		}
	}
	return some
}

// part is where the k-th pick chooses.
func (c *choices) part(k uint64) *alias {
	switch {
	case len(c.near.of) == 0:
		return &c.all
	case mix(k)>>32 <= c.stay:
		return &c.near
	}
	return &c.far
}

// instead finds an instance that takes the pick in place of one that is avoided, in its own zone
// first. When hardly any is left it is that one, or rather one that is registered still.
func (c *choices) instead(cold *Instance, k uint64) *Instance {
	const draws, steps = 8, 64
	last := cold
	for _, part := range []*alias{&c.near, &c.far, &c.all} {
		n := uint64(len(part.of))
		for d := 0; d < draws && n > 0; d++ { // as the policy has it, and evenly among those that are left
			k = mix(k)
			if i := part.at(k); i.load.take() {
				return i
			}
		}
		for d := uint64(0); d < min(steps, n); d++ { // a heavy one may have been drawn each time
			i := part.of[(k%n+d)%n]
			if i.load.take() {
				return i
			}
			if last.Status == Expired && i.Status != Expired {
				last = i
			}
		}
	}
	return last
}

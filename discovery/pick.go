package discovery

import (
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// ErrNone: the service has no instance, or with Options.OnlyServing none that takes requests. State
// tells whether the list is fresh.
var ErrNone = errors.New("discovery: no instance")

// Policy is how Pick chooses among the instances that take requests.
type Policy int

const (
	// Weighted is round robin in proportion to weights. An instance without a weight, or with
	// the weight 0, has the weight 1: an instance that takes no requests says so by its status.
	Weighted Policy = iota
	// RoundRobin is each in turn, whatever its weight.
	RoundRobin
	// LeastPending draws two by weight and takes the one with fewer requests under way, for its
	// weight ("the power of two choices", Mitzenmacher 1996): it evens out slow instances and
	// slow requests. Each Pick needs one Report, which ends the request.
	LeastPending
)

// Pick chooses an instance by Options.Policy: of those that take requests (see
// Instance.TakesRequests), or of all if there are none, unless Options has OnlyServing. One that has
// just failed (see Report) is avoided, as long as there are others. It is shared: do not change it.
// The error is ErrNone.
//
// With Options.Zone, instances of that zone are preferred, as long as they are enough: callers
// are taken to be spread evenly over the n zones, so each is expected to have 1/n of the weight,
// and takes 1.4 times what it has. So with 71 % of that 1/n or more all picks stay in the zone;
// of what is missing below it, they spill over to the others.
func (v *View) Pick() (*Instance, error) { return v.PickWhere(nil) }

// PickWhere chooses as Pick does, of the instances for which usable returns true. Whether one that
// is avoided is usable does not matter as long as there are others, so those that failed are tried
// again as with Pick. usable can be called several times for an instance, and without any lock. The
// error is ErrNone, too, if no instance is usable.
func (v *View) PickWhere(usable func(*Instance) bool) (*Instance, error) {
	c := &v.current.Load().choices
	k := v.picks.Add(1)
	if len(c.all.of) == 0 {
		return nil, v.none()
	}
	part, anyAvoided := c.part(k), v.anyAvoided()
	var i *Instance
	if v.opts.Policy == LeastPending {
		drawn := part.lessLoaded(k, anyAvoided)
		if i = drawn.Instance; !anyAvoided && usable == nil {
			drawn.usage.pending.Add(1) // without a look at the Instance, which takes twice as long
			return i, nil
		}
	} else {
		i = part.at(k)
	}
	if anyAvoided && !i.usage.take() || usable != nil && !usable(i) {
		if i = c.pickOther(i, mix(k), usable); i == nil {
			return nil, fmt.Errorf("%w of %q is usable", ErrNone, v.service)
		}
	}
	if v.opts.Policy == LeastPending {
		i.usage.pending.Add(1)
	}
	return i, nil
}

// none is the error of a pick that finds nothing to choose.
func (v *View) none() error {
	l := v.current.Load()
	if n := len(l.instances); n > 0 {
		return fmt.Errorf("%w of %q that takes requests: all %d are critical, in maintenance or draining", ErrNone, v.service, n)
	}
	return fmt.Errorf("%w of %q", ErrNone, v.service)
}

// PickFor chooses the same instance for the same key, in every process with the same list, by
// consistent hashing: when instances come or go, hardly any other key moves. Weights count, zones
// do not. While a key's instance is avoided, drains or is critical, other instances take its keys,
// each a part of them. The error is ErrNone.
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
		if i := table.at(hash).current.Load(); i != nil && i.usage.take() {
			v.picks.Add(1)
			if v.opts.Policy == LeastPending {
				i.usage.pending.Add(1)
			}
			return i, nil
		}
		hash = mix(hash)
	}
	return v.Pick() // hardly any instance takes requests
}

// candidate is all that LeastPending reads of an instance, in one place: with 10,000 instances each further
// place is a cache miss.
type candidate struct {
	*Instance
	usage  *usage
	weight int64
}

// lessLoaded draws two instances and returns the one with fewer requests under way, for its weight.
func (a *alias) lessLoaded(k uint64, anyAvoided bool) *candidate {
	one, other := &a.candidates[a.place(k)], &a.candidates[a.place(mix(k))]
	if anyAvoided {
		if avoided := one.usage.avoided(); avoided != other.usage.avoided() {
			if avoided {
				return other
			}
			return one
		}
	}
	if int64(other.usage.pending.Load())*one.weight < int64(one.usage.pending.Load())*other.weight {
		return other
	}
	return one
}

func candidates(of []*Instance) []candidate {
	all := make([]candidate, len(of))
	for n, i := range of {
		all[n] = candidate{i, i.usage, i.weight}
	}
	return all
}

// choices are what Pick chooses among. Each list has its own.
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
			a.candidates = candidates(of)
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

// filter returns the wanted instances: the list itself, if all are wanted.
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

// part returns the instances among which the k-th pick chooses.
func (c *choices) part(k uint64) *alias {
	switch {
	case len(c.near.of) == 0:
		return &c.all
	case mix(k)>>32 <= c.stay:
		return &c.near
	}
	return &c.far
}

// pickOther finds an instance that takes the pick in place of the one that was drawn, in its own zone
// first. nil: no instance is usable.
func (c *choices) pickOther(drawn *Instance, k uint64, usable func(*Instance) bool) *Instance {
	const draws, steps = 8, 64
	accepts := func(i *Instance) bool { return i.usage.take() && (usable == nil || usable(i)) }
	for _, part := range c.byZone() {
		n := uint64(len(part.of))
		for d := 0; d < draws && n > 0; d++ { // as the policy has it, and evenly among those that are left
			k = mix(k)
			if i := part.at(k); accepts(i) {
				return i
			}
		}
		for d := range min(steps, n) { // a heavy one may have been drawn each time
			if i := part.of[(k%n+d)%n]; accepts(i) {
				return i
			}
		}
	}
	return c.fallback(drawn, k, usable)
}

// fallback finds an instance when those that were looked at are avoided or not usable: the one that
// was drawn, or one that is still registered if that is Expired. It looks at all of them only if hardly
// any is usable.
func (c *choices) fallback(drawn *Instance, k uint64, usable func(*Instance) bool) *Instance {
	const steps = 64
	accepts := func(i *Instance) bool { return usable == nil || usable(i) }
	best := drawn
	if !accepts(drawn) {
		best = nil
	}
	for _, part := range c.byZone() {
		n := uint64(len(part.of))
		for d := uint64(0); d < n && (d < steps || best == nil); d++ {
			i := part.of[(k%n+d)%n]
			if (best == nil || best.Status == Expired && i.Status != Expired) && accepts(i) {
				best = i
			}
		}
	}
	return best
}

// byZone are the parts in which an instance is looked for, one after the other.
func (c *choices) byZone() [3]*alias { return [...]*alias{&c.near, &c.far, &c.all} }

package discovery

import "math/bits"

// alias chooses among instances in proportion to their weights, in constant time: Vose's alias
// method, with a counter instead of random numbers. The counter's multiples of the golden ratio are
// spread evenly over the instances, so the shares are right for a few picks, too.
type alias struct {
	of    []*Instance
	dice  []dice // by place; nil: all weights are equal
	seats []seat // by place, for LeastPending
}

// dice says how often of 2³² the place's own instance is chosen, and which other place is chosen otherwise.
type dice struct {
	own   uint32
	other int32
}

// newAlias makes the table. It is O(n).
func newAlias(of []*Instance) alias {
	a := alias{of: of}
	total, equal := 0.0, true
	for _, i := range of {
		total += float64(i.weight)
		equal = equal && i.weight == of[0].weight
	}
	if equal {
		return a
	}
	n := len(of)
	a.dice = make([]dice, n)
	scaled := make([]float64, n)
	var small, large []int32
	for place, i := range of {
		scaled[place] = float64(i.weight) * float64(n) / total
		if scaled[place] < 1 {
			small = append(small, int32(place))
		} else {
			large = append(large, int32(place))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.dice[s] = dice{uint32(scaled[s] * (1<<32 - 1)), l}
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	for _, rest := range append(small, large...) {
		a.dice[rest] = dice{1<<32 - 1, rest}
	}
	return a
}

// at returns the k-th choice, and place its place. The table must not be empty.
func (a *alias) at(k uint64) *Instance { return a.of[a.place(k)] }

func (a *alias) place(k uint64) uint64 {
	n := uint64(len(a.of))
	if a.dice == nil {
		return k % n
	}
	place, throw := bits.Mul64(k*golden, n)
	if d := a.dice[place]; uint32(throw>>32) >= d.own {
		return uint64(d.other)
	}
	return place
}

const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ / φ

// mix spreads the bits of a number over all of them (the finaliser of MurmurHash3).
func mix(k uint64) uint64 {
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}

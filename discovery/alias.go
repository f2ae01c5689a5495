package discovery

import "math/bits"

// alias chooses among instances in proportion to their weights, in constant time: Vose's alias
// method, with a counter instead of random numbers. The counter's multiples of the golden ratio are
// spread evenly over the instances, so the shares are right for a few picks, too.
type alias struct {
	of         []*Instance
	cutoffs    []cutoff    // by place; nil: all weights are equal
	candidates []candidate // by place, for LeastPending
}

// cutoff divides a place, as weights want it: fractions below it, of 2³², choose the place's own instance,
// and the rest choose that of another place.
type cutoff struct {
	at    uint32
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
	a.cutoffs = make([]cutoff, n)
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
		a.cutoffs[s] = cutoff{uint32(scaled[s] * (1<<32 - 1)), l}
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	for _, rest := range append(small, large...) {
		a.cutoffs[rest] = cutoff{1<<32 - 1, rest}
	}
	return a
}

// at returns the k-th choice, and place its place. The table must not be empty.
func (a *alias) at(k uint64) *Instance { return a.of[a.place(k)] }

func (a *alias) place(k uint64) uint64 {
	n := uint64(len(a.of))
	if a.cutoffs == nil {
		return k % n
	}
	place, fraction := bits.Mul64(k*golden, n)
	if c := a.cutoffs[place]; uint32(fraction>>32) >= c.at {
		return uint64(c.other)
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

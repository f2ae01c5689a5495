package discovery

import "math/bits"

// alias chooses among instances in proportion to weights and in constant time, however many
// there are: Vose's alias method, driven by a counter instead of dice. The counter's multiples
// of the golden ratio spread evenly over the instances, so that shares hold over a short run of
// picks, too.
type alias struct {
	of    []*Instance
	share []uint32 // of the first choice at a place, of 2³²; nil: all weights are equal
	other []int32  // the second choice, a place
}

// newAlias makes the table. It is O(n).
func newAlias(of []*Instance) alias {
	a := alias{of: of}
	total, equal := 0.0, true
	for _, i := range of {
		total += float64(i.Weight)
		equal = equal && i.Weight == of[0].Weight
	}
	if equal {
		return a
	}
	n := len(of)
	a.share, a.other = make([]uint32, n), make([]int32, n)
	scaled := make([]float64, n)
	var small, large []int32
	for place, i := range of {
		scaled[place] = float64(i.Weight) * float64(n) / total
		if scaled[place] < 1 {
			small = append(small, int32(place))
		} else {
			large = append(large, int32(place))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.share[s], a.other[s] = uint32(scaled[s]*(1<<32-1)), l
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	for _, rest := range append(small, large...) {
		a.share[rest], a.other[rest] = 1<<32-1, rest
	}
	return a
}

// at is the k-th choice. There must be something to choose.
func (a *alias) at(k uint64) *Instance {
	if a.share == nil {
		return a.of[k%uint64(len(a.of))]
	}
	place, dice := bits.Mul64(k*golden, uint64(len(a.of)))
	if uint32(dice>>32) < a.share[place] {
		return a.of[place]
	}
	return a.of[a.other[place]]
}

const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ / φ

// mix spreads the bits of a number over all of them (the finaliser of MurmurHash3).
func mix(k uint64) uint64 {
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}

package discovery

import (
	"math/bits"

	"github.com/etcdkit/etcdkit/registry"
)

// picks chooses among a list's instances in constant time, however many there are: by Vose's
// alias method, driven by a counter instead of dice. Its multiples of the golden ratio spread
// evenly over the instances, so that shares hold over a short run of picks, too.
type picks struct {
	n     int      // how many may be picked
	index []int32  // of those; nil: all of the list
	share []uint32 // of the first choice at a place, of 2³²; nil: all weights are equal
	alias []int32  // the second choice, a place
}

func newPicks(instances []*registry.Instance) picks {
	serving, weight, equal := 0, 0, true
	for _, i := range instances {
		if i.Status.Serving() {
			serving++
			equal = equal && (serving == 1 || i.Weight == weight)
			weight = i.Weight
		}
	}
	p := picks{n: serving}
	switch serving {
	case 0:
		return picks{n: len(instances)} // better than nothing, and alike
	case len(instances):
	default:
		p.index = make([]int32, 0, serving)
		for at, i := range instances {
			if i.Status.Serving() {
				p.index = append(p.index, int32(at))
			}
		}
	}
	if !equal {
		p.weigh(instances)
	}
	return p
}

// weigh makes the alias table.
func (p *picks) weigh(instances []*registry.Instance) {
	n := p.n
	total := 0.0
	for place := range n {
		total += float64(instances[p.chosen(place)].Weight)
	}
	p.share, p.alias = make([]uint32, n), make([]int32, n)
	scaled := make([]float64, n)
	var small, large []int32
	for place := range n {
		scaled[place] = float64(instances[p.chosen(place)].Weight) * float64(n) / total
		if scaled[place] < 1 {
			small = append(small, int32(place))
		} else {
			large = append(large, int32(place))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		p.share[s], p.alias[s] = uint32(scaled[s]*(1<<32-1)), l
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	for _, rest := range append(small, large...) {
		p.share[rest], p.alias[rest] = 1<<32-1, rest
	}
}

// at is the index of the k-th pick, or -1 when there is nothing to pick.
func (p *picks) at(k uint64) int {
	if p.n == 0 {
		return -1
	}
	if p.share == nil {
		return p.chosen(int(k % uint64(p.n)))
	}
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ / φ
	place, dice := bits.Mul64(k*golden, uint64(p.n))
	if uint32(dice>>32) < p.share[place] {
		return p.chosen(int(place))
	}
	return p.chosen(int(p.alias[place]))
}

// chosen is the index of a place.
func (p *picks) chosen(place int) int {
	if p.index == nil {
		return place
	}
	return int(p.index[place])
}

package discovery

import (
	"math/bits"

	"github.com/etcdkit/etcdkit/registry"
)

// picks chooses among a list's instances in constant time, however many there are: by Vose's
// alias method, driven by a counter instead of dice. Its multiples of the golden ratio spread
// evenly over the instances, so that shares hold over a short run of picks, too.
type picks struct {
	index []int32  // of instances that may be picked
	share []uint32 // of the first choice at a place, of 2³²; nil: all weights are equal
	alias []int32  // the second choice, a place
}

func newPicks(instances []registry.Instance) picks {
	var p picks
	for _, serving := range []bool{true, false} {
		for i := range instances {
			if !serving || instances[i].Status.Serving() {
				p.index = append(p.index, int32(i))
			}
		}
		if len(p.index) > 0 {
			break
		}
	}
	equal := true
	for _, i := range p.index {
		equal = equal && instances[i].Weight == instances[p.index[0]].Weight
	}
	if !equal {
		p.weigh(instances)
	}
	return p
}

// weigh makes the alias table.
func (p *picks) weigh(instances []registry.Instance) {
	n := len(p.index)
	total := 0.0
	for _, i := range p.index {
		total += float64(instances[i].Weight)
	}
	p.share, p.alias = make([]uint32, n), make([]int32, n)
	scaled := make([]float64, n)
	var small, large []int32
	for place, i := range p.index {
		scaled[place] = float64(instances[i].Weight) * float64(n) / total
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

// at is the index of the n-th pick, or -1 when there is nothing to pick.
func (p *picks) at(n uint64) int {
	if len(p.index) == 0 {
		return -1
	}
	if p.share == nil {
		return int(p.index[n%uint64(len(p.index))])
	}
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ / φ
	place, dice := bits.Mul64(n*golden, uint64(len(p.index)))
	if uint32(dice>>32) < p.share[place] {
		return int(p.index[place])
	}
	return int(p.index[p.alias[place]])
}

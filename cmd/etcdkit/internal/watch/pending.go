package watch

import (
	"cmp"
	"slices"

	"github.com/etcdkit/etcdkit/mirror"
)

// Pending gathers batches into one. The zero Pending is empty.
type Pending struct {
	revision int64
	reason   Reason
	because  mirror.Reason
	of       map[string]mirror.Change
}

// Add adds a batch, which is later than those before.
func (p *Pending) Add(b Batch) {
	if p.of == nil {
		p.of = make(map[string]mirror.Change)
	}
	p.revision = b.Revision
	if p.reason != Reread { // the one that says most
		p.reason, p.because = b.Reason, b.Because
	}
	for _, c := range b.Changes {
		if first, ok := p.of[c.Key]; ok {
			c.Old = first.Old
			c.Synthesised = c.Synthesised || first.Synthesised
		}
		p.of[c.Key] = c
	}
}

// Take returns what was gathered, in the order of the last changes, and empties p. It is without changes if what
// came has gone.
func (p *Pending) Take() Batch {
	b := Batch{Revision: p.revision, Reason: p.reason, Because: p.because}
	for _, c := range p.of {
		if c.Old != nil || c.New != nil {
			b.Changes = append(b.Changes, c)
		}
	}
	slices.SortFunc(b.Changes, func(x, y mirror.Change) int {
		return cmp.Or(cmp.Compare(x.Revision, y.Revision), cmp.Compare(x.Key, y.Key))
	})
	*p = Pending{}
	return b
}

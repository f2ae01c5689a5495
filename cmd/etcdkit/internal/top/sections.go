package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

// list is one section: a line about all of it, and a table.
type list struct {
	title string
	rows  [][]out.Cell // with headings, if there are others
}

func (c Canvas) list(s section, inv *inventory.Inventory, urgent bool) list {
	switch s {
	case locks:
		return c.locks(inv.Locks, urgent)
	case elections:
		return c.elections(inv.Elections, urgent)
	case services:
		return c.services(inv.Services, urgent)
	default:
		return c.leases(inv, urgent)
	}
}

// all draws each section, with as many rows as there is room for.
func (c Canvas) all(s State, v *View, room int) []string {
	v.offset = 0
	var lists []list
	for sec := locks; sec < sections; sec++ {
		lists = append(lists, c.list(sec, s.Inventory.Value, v.urgent))
	}
	lists[len(lists)-1].rows = nil // the leases have a view of their own
	counts := make([]int, len(lists))
	for i, l := range lists {
		counts[i] = len(l.rows)
	}
	share(counts, room-len(lists))
	var lines []string
	for i, l := range lists {
		lines = append(lines, c.paint(l.title, out.Bold))
		lines = append(lines, c.part(l.rows, 0, counts[i])...)
	}
	return lines
}

// share makes counts smaller, the largest first, until they fit.
func share(counts []int, room int) {
	for sum(counts) > max(room, 0) {
		largest := 0
		for i := range counts {
			if counts[i] > counts[largest] {
				largest = i
			}
		}
		counts[largest]--
	}
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// one draws one section, scrolled.
func (c Canvas) one(s State, v *View, room int) []string {
	l := c.list(v.section, s.Inventory.Value, v.urgent)
	v.offset = max(0, min(v.offset, len(l.rows)-(room-1)))
	return append([]string{c.paint(l.title, out.Bold)}, c.part(l.rows, v.offset, room-1)...)
}

// part is a table's headings and rows from an offset on, in so many lines. The last one says how many are left out.
func (c Canvas) part(rows [][]out.Cell, offset, lines int) []string {
	if len(rows) == 0 || lines < 2 {
		return nil
	}
	shown := rows[1+min(offset, len(rows)-1):]
	left := 0
	if len(shown) > lines-1 && lines < 3 {
		return nil // the headings alone say nothing
	}
	if len(shown) > lines-1 {
		left = len(shown) - (lines - 2)
		shown = shown[:lines-2]
	}
	part := c.table(append([][]out.Cell{rows[0]}, shown...))
	if left > 0 {
		part = append(part, c.paint(fmt.Sprintf("  … %d more", left), out.Faint))
	}
	return part
}

func (c Canvas) locks(queues []*lock.Queue, urgent bool) list {
	queues = slices.Clone(queues)
	held, waiting := 0, 0
	for _, q := range queues {
		n := holders(q)
		held, waiting = held+min(n, 1), waiting+q.Count-n
	}
	if urgent {
		slices.SortStableFunc(queues, func(a, b *lock.Queue) int { return cmp.Compare(b.Count-holders(b), a.Count-holders(a)) })
	}
	l := list{title: fmt.Sprintf("Locks: %d held, %d waiting", held, waiting)}
	for i, q := range queues {
		if i == 0 {
			l.rows = append(l.rows, headings("LOCK", "HELD FOR", "WAIT", "HOLDER"))
		}
		n := holders(q)
		l.rows = append(l.rows, []out.Cell{
			c.name(q.Name), {Text: c.heldFor(q), Right: true}, {Text: fmt.Sprint(q.Count - n), Right: true}, {Text: holderText(q, n)},
		})
	}
	return l
}

func holders(q *lock.Queue) (n int) {
	for _, e := range q.Entries {
		if e.Status == lock.Holds {
			n++
		}
	}
	return n
}

// heldFor is for how long the oldest holder has held it, by the clock of its host.
func (c Canvas) heldFor(q *lock.Queue) string {
	if len(q.Entries) == 0 {
		return "-"
	}
	since := q.Entries[0].Acquired
	if since.IsZero() {
		since = q.Entries[0].Since
	}
	if since.IsZero() {
		return "-"
	}
	return age(c.Now.Sub(since))
}

func holderText(q *lock.Queue, n int) string {
	if len(q.Entries) == 0 || n == 0 {
		return "-"
	}
	first := q.Entries[0]
	text := first.Process()
	switch {
	case first.Foreign && first.Lease != 0:
		text = "lease " + out.Hex(first.Lease) + ", of clientv3 or etcdctl"
	case first.Foreign:
		text = "a key without a lease: " + quote.Word(first.Key)
	}
	if n > 1 {
		text = fmt.Sprintf("%d holders, first %s", n, text)
	}
	return text
}

func (c Canvas) elections(queues []*election.Queue, urgent bool) list {
	queues = slices.Clone(queues)
	candidates := 0
	for _, q := range queues {
		candidates += q.Count
	}
	if urgent { // those that no other process would take over
		slices.SortStableFunc(queues, func(a, b *election.Queue) int { return cmp.Compare(a.Count, b.Count) })
	}
	l := list{title: fmt.Sprintf("Elections: %d, %s", len(queues), out.Count(candidates, "candidate"))}
	for i, q := range queues {
		if i == 0 {
			l.rows = append(l.rows, headings("ELECTION", "WAIT", "LEADER"))
		}
		leader := "-"
		if len(q.Candidates) > 0 {
			leader = quote.Word(q.Candidates[0].Value)
		}
		l.rows = append(l.rows, []out.Cell{c.name(q.Name), {Text: fmt.Sprint(max(0, q.Count-1)), Right: true}, {Text: leader}})
	}
	return l
}

func (c Canvas) services(all []*inventory.Service, urgent bool) list {
	all = slices.Clone(all)
	instances, ill := 0, 0
	for _, s := range all {
		instances, ill = instances+len(s.Instances), ill+len(s.Instances)-serving(s)
	}
	if urgent {
		slices.SortStableFunc(all, func(a, b *inventory.Service) int {
			return cmp.Compare(len(b.Instances)-serving(b), len(a.Instances)-serving(a))
		})
	}
	l := list{title: fmt.Sprintf("Services: %d, %s", len(all), out.Count(instances, "instance"))}
	if ill > 0 {
		l.title += fmt.Sprintf(", %d out of service", ill)
	}
	for i, s := range all {
		if i == 0 {
			l.rows = append(l.rows, headings("SERVICE", "INSTANCES", "STATUS"))
		}
		name := s.Name
		if s.Prefix != registry.DefaultPrefix {
			name = s.Prefix + s.Name
		}
		colour := out.Plain
		if serving(s) < len(s.Instances) {
			colour = out.Orange
		}
		if serving(s) == 0 {
			colour = out.Red
		}
		l.rows = append(l.rows, []out.Cell{c.name(name), {Text: fmt.Sprint(len(s.Instances)), Right: true}, {Text: statuses(s), Colour: colour}})
	}
	return l
}

func serving(s *inventory.Service) (n int) {
	for _, i := range s.Instances {
		if i.Status.Serving() {
			n++
		}
	}
	return n
}

// statuses is how many instances are in each.
func statuses(s *inventory.Service) string {
	counts := make(map[registry.Status]int)
	for _, i := range s.Instances {
		counts[cmp.Or(i.Status, registry.Passing)]++
	}
	var texts []string
	for _, status := range []registry.Status{registry.Critical, registry.Warning, registry.Maintenance, registry.Draining, registry.Passing} {
		if n := counts[status]; n > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return strings.Join(texts, ", ")
}

func (c Canvas) leases(inv *inventory.Inventory, urgent bool) list {
	all := slices.Clone(inv.Leases)
	keys, next := 0, time.Duration(-1)
	for _, l := range all {
		keys += max(l.KeyCount, len(l.Keys))
		if left := c.left(l); next < 0 || left < next {
			next = left
		}
	}
	if urgent {
		slices.SortStableFunc(all, func(a, b *inventory.Lease) int { return cmp.Compare(c.left(a), c.left(b)) })
	}
	l := list{title: fmt.Sprintf("Leases: %d, %s", len(all)+inv.OmittedLeases, out.Count(keys, "key"))}
	if next >= 0 {
		l.title += fmt.Sprintf(", the next ends in %s unless it is renewed", age(next))
	}
	if inv.Ranges != nil {
		l.title += " (only what the user may read)"
	}
	for i, one := range all {
		if i == 0 {
			l.rows = append(l.rows, headings("LEASE", "TTL", "REMAINING", "KEYS", "ON IT"))
		}
		on := ""
		if len(one.Keys) > 0 {
			on = one.Keys[0].String()
		}
		l.rows = append(l.rows, []out.Cell{
			{Text: out.Hex(one.ID)}, {Text: age(one.Granted), Right: true}, {Text: age(c.left(one)), Right: true},
			{Text: fmt.Sprint(max(one.KeyCount, len(one.Keys))), Right: true}, {Text: on},
		})
	}
	return l
}

// left is what remains of a lease now, as far as the last answer tells.
func (c Canvas) left(l *inventory.Lease) time.Duration {
	return max(0, l.Remaining-c.Now.Sub(l.ReadAt)).Truncate(time.Second)
}

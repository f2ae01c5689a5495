package queue

// knownAhead is how many entries ahead an entry knows that hears of all deletions. With more, each
// deletion would wake too many for nothing.
const knownAhead = 2

// ahead is what is known of the entries that come before one. It has no lock of its own.
type ahead struct {
	entries  map[string]weight // what each takes, by its key
	taken    int64             // by all of them; two that take all are more than 32 bits hold
	sizes    map[int]int       // that they count to: how many do
	partial  bool              // more are ahead
	mustRead bool              // which are ahead has to be read
	last     entryID           // the entry just before this one
	previous *Entry            // last, if it is this client's

	at           int64 // the revision of all this; later deletions are taken out
	lastDeletion int64 // of one ahead
}

// weight is what an entry takes: n of a size. A size of 0 takes all.
type weight struct{ n, size int }

// forget empties what is known, except of when.
func (a *ahead) forget() {
	*a = ahead{entries: make(map[string]weight), at: a.at, lastDeletion: a.lastDeletion}
}

// add records that an entry is ahead.
func (a *ahead) add(key string, w weight) {
	a.entries[key] = w
	a.taken += int64(w.n)
	if w.size > 0 {
		if a.sizes == nil {
			a.sizes = make(map[int]int)
		}
		a.sizes[w.size]++
	}
}

// remove records that an entry is not ahead any more.
func (a *ahead) remove(key string, w weight) {
	delete(a.entries, key)
	a.taken -= int64(w.n)
	if w.size == 0 {
		return
	}
	if a.sizes[w.size]--; a.sizes[w.size] == 0 {
		delete(a.sizes, w.size)
	}
}

// allows tells whether none is ahead that an entry of this kind waits for.
func (a *ahead) allows(k Kind) bool {
	if a.partial || a.mustRead {
		return false
	}
	limit := k.Size
	for size := range a.sizes {
		limit = min(limit, size)
	}
	return len(a.entries) == 0 || k.Size > 0 && a.taken+int64(k.Weight) <= int64(limit)
}

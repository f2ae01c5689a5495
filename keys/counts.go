package keys

// Action is what Import, Copy and Follow do with one key.
type Action string

// Actions.
const (
	ActionCreate Action = "create"
	ActionUpdate Action = "update" // of a key with another value, or with a lease where it needs none or the other way round
	ActionDelete Action = "delete"
	ActionSame   Action = "same" // nothing to do
	ActionKeep   Action = "keep" // the key is different, and stays so, as Overwrite was not asked for
	ActionSkip   Action = "skip" // not written: its lease had ended when it was read, or it is not wanted
)

// Counts say how far an import or a copy has come.
type Counts struct {
	Read  int64 // records, or keys and changes of the source
	Total int64 // how many there are to read; 0: not known

	Created, Updated, Deleted, Same, Kept, Skipped int64

	Leases int64 // that were granted
}

func (c *Counts) count(a Action) {
	switch a {
	case ActionCreate:
		c.Created++
	case ActionUpdate:
		c.Updated++
	case ActionDelete:
		c.Deleted++
	case ActionSame:
		c.Same++
	case ActionKeep:
		c.Kept++
	case ActionSkip:
		c.Skipped++
	}
}

// Progress is how far an import or a copy has come, and what holds it up.
type Progress struct {
	Counts
	// Waiting is why nothing goes on at the moment; nil: it goes on.
	Waiting error
	// Following says of Follow that the destination is as the source was, and changes follow from now on.
	Following bool
	// Revision is the source's up to which the destination has everything; Follow only.
	Revision int64
}

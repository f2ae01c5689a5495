package queue

// Takes is what a semaphore's entry makes of the rest of a key.
func Takes(rest string) (weight, size int) {
	w := Kind{Weight: 1, Size: 1}.takes(rest)
	return w.n, w.size
}

// All is what takes everything.
const All = takesAll

// Shared tells whether readers take the rest of a key for a reader's.
func Shared(rest string) bool { return shared(rest) }

// Key is the key of an entry.
func (k Kind) Key(prefix string, lease int64, slot int) string { return k.key(prefix, lease, slot) }

package safety_test

import "github.com/etcdkit/etcdkit/lock"

// rwTurn is one hold, to read half of the time. Who writes does what it would under a Mutex.
func (h *hand) rwTurn(m *lock.RWMutex) {
	h.interfere()
	key := h.register()
	switch h.rand.IntN(6) {
	case 0, 1:
		if held := h.acquire(h.on.counter(), m.Acquire); held != nil {
			h.increment(held)
		}
	case 2:
		if held := h.acquire(key, m.Acquire); held != nil {
			h.visit(held, key, true)
			h.release(held, held.Release)
		}
	default:
		if held := h.acquire(key, m.AcquireRead); held != nil {
			h.visit(held, key, false)
			h.release(held, held.Release)
		}
	}
}

// readsAgree: what was read under one token that shares is always the same, as long as etcd
// accepts the token.
func readsAgree(e *evidence, s subject) error {
	var found findings
	queue := turns(e.events, s)
	first := make(map[int64]op)
	for _, o := range e.ops {
		if o.Op != read || o.Outcome != ok || o.Token == 0 || o.of() != s || queue[o.Token] == nil || !queue[o.Token].shared {
			continue
		}
		if was, known := first[o.Token]; !known {
			first[o.Token] = o
		} else if was.Key == o.Key && was.Value != o.Value {
			found.addf("%v: and before: %v", o, was)
		}
	}
	return found.err()
}

package safety_test

import "github.com/etcdkit/etcdkit/lock"

// mutexTurn is one hold.
func (h *hand) mutexTurn(m *lock.Mutex) {
	h.interfere()
	if h.rand.IntN(3) > 0 {
		if held := h.acquire(h.on.counter(), m.Acquire); held != nil {
			h.increment(held)
		}
		return
	}
	key := h.register()
	if held := h.acquire(key, m.Acquire); held != nil {
		h.visit(held, key, true)
		h.release(held, held.Release)
	}
}

// interfere does now and then what is none of the holder's business.
func (h *hand) interfere() {
	if h.rand.IntN(4) == 0 {
		h.resend()
	}
	if h.rand.IntN(4) == 0 {
		h.peek()
	}
}

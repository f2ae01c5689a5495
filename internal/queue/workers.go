package queue

import (
	"context"
	"sync"
)

// workers counts what goes on in the background, so that Close can wait for it.
type workers struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is 0 again; nil: nothing waits for that
}

// start runs f in a goroutine that counts.
func (w *workers) start(f func()) {
	w.add()
	go func() { // Close waits for it
		defer w.done()
		f()
	}()
}

func (w *workers) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
}

func (w *workers) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// wait returns when nothing is left, or ctx ends.
func (w *workers) wait(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.n > 0 && ctx.Err() == nil {
		if w.idle == nil {
			w.idle = make(chan struct{})
		}
		idle := w.idle
		w.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
		}
		w.mu.Lock()
	}
}

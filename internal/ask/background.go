package ask

import (
	"context"
	"io"
	"sync"
)

// Background is work for handles that may be closed before it is done, such as deleting a key that a
// request without an answer may still write. It belongs to an owner that outlives the handles, a
// lease.Keeper, and ends with it.
type Background struct {
	life context.Context
	end  context.CancelFunc

	stopWaiting func() bool // for the end of the client

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // added to with mu held, until closed
}

// NewBackground returns one that End ends.
func NewBackground() *Background {
	b := new(Background)
	b.life, b.end = context.WithCancel(context.Background())
	return b
}

// Go runs f with a context that ends with b. Once b has ended, or is nil, Go is false and does not run
// it.
func (b *Background) Go(f func(context.Context)) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.running.Go(func() { f(b.life) })
	return true
}

// End ends the context of what runs, and lets nothing start. Wait waits for what runs.
func (b *Background) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.end()
}

// Wait returns when nothing runs any more. End must have been called.
func (b *Background) Wait() { b.running.Wait() }

// backgrounds has what KeepBackground was told of. It is not in a Client: a Keeper may be that of another
// client than the handle's that looks for it.
var backgrounds sync.Map // io.Closer, the owner → *Background

// KeepBackground makes b what BackgroundOf(owner) returns, until ForgetBackground, or until the client's
// context ends: after that there is nothing that it could do. Calling it again does nothing. The owner
// calls this and ForgetBackground one at a time.
func KeepBackground(client context.Context, owner io.Closer, b *Background) {
	if _, kept := backgrounds.LoadOrStore(owner, b); !kept {
		b.stopWaiting = context.AfterFunc(client, func() { backgrounds.Delete(owner) })
	}
}

// ForgetBackground ends what KeepBackground did.
func ForgetBackground(owner io.Closer) {
	if b, ok := backgrounds.LoadAndDelete(owner); ok {
		b.(*Background).stopWaiting()
	}
}

// BackgroundOf is the owner's Background, or nil. It is not a method of the owner, a lease.Keeper: users
// have no use for it.
func BackgroundOf(owner io.Closer) *Background {
	if b, ok := backgrounds.Load(owner); ok {
		return b.(*Background)
	}
	return nil
}

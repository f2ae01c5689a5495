package httptransport

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// body is a request's body. During a try Close is delayed, as a body that was not read can be used for
// another try. nil is the body of a request without one.
type body struct {
	from io.ReadCloser

	mu     sync.Mutex
	taken  func() // called before each Read
	held   bool   // a try is under way: Close only records that it was called
	shut   bool   // Close was called
	closed bool   // from is closed
	read   bool
	broken bool // a Read failed
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	taken := b.taken
	b.mu.Unlock()
	taken()
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.broken = b.broken || !b.shut // otherwise it failed because it was closed
		b.mu.Unlock()
	}
	return n, err
}

func (b *body) Close() error {
	b.mu.Lock()
	b.shut = true
	done := b.held || b.closed
	b.closed = b.closed || !b.held
	b.mu.Unlock()
	if done {
		return nil
	}
	return b.from.Close()
}

// beginTry begins a try. taken is called before each Read.
func (b *body) beginTry(taken func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken, b.held, b.shut = taken, true, false
}

// keep leaves the body to the try that succeeded.
func (b *body) keep() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.held = false
	shut := b.shut
	b.mu.Unlock()
	if shut {
		b.Close()
	}
}

// finish closes the body: there is no further try.
func (b *body) finish() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.held = false
	b.mu.Unlock()
	b.Close()
}

// unchanged reports whether the body is as it was before a try that failed.
func (b *body) unchanged(failed *try) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return failed.unsent && !b.read
}

// failed reports whether reading the caller's body failed.
func (b *body) failed() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

// answer is the body of a response. The try ends with it.
type answer struct {
	io.ReadCloser
	t    *try
	once sync.Once
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.end(err)
	}
	return n, err
}

func (a *answer) Close() error {
	a.end(nil) // first: that a Read under way is cut off is not a failure
	return a.ReadCloser.Close()
}

func (a *answer) end(err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	a.once.Do(func() { a.t.end(err) })
}

// duplex is the body of a response that switched protocols: it can be written to.
type duplex struct {
	*answer
	w io.Writer
}

func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }

// CloseWrite is what net/http's own body has; httputil.ReverseProxy asks for it.
func (d *duplex) CloseWrite() error {
	if w, ok := d.w.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return http.ErrNotSupported
}

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

	mu          sync.Mutex
	beforeRead  func()
	inTry       bool // Close only records that it was called
	closeCalled bool // since the try began
	closed      bool // from is closed
	read        bool
	readFailed  bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	beforeRead := b.beforeRead
	b.mu.Unlock()
	beforeRead()
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.readFailed = b.readFailed || !b.closeCalled // otherwise it failed because it was closed
		b.mu.Unlock()
	}
	return n, err
}

func (b *body) Close() error {
	b.mu.Lock()
	b.closeCalled = true
	done := b.inTry || b.closed
	b.closed = b.closed || !b.inTry
	b.mu.Unlock()
	if done {
		return nil
	}
	return b.from.Close()
}

// beginTry begins a try. beforeRead is called before each Read.
func (b *body) beginTry(beforeRead func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beforeRead, b.inTry, b.closeCalled = beforeRead, true, false
}

// keep leaves the body to the try that succeeded.
func (b *body) keep() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.inTry = false
	closeCalled := b.closeCalled
	b.mu.Unlock()
	if closeCalled {
		b.Close()
	}
}

// finish closes the body: there is no further try.
func (b *body) finish() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.inTry = false
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
	return b.readFailed
}

// answer is the body of a response. The try ends with it.
type answer struct {
	io.ReadCloser
	try  *try
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
	a.once.Do(func() { a.try.end(err) })
}

// duplex is the body of a response that switched protocols: it can be written to.
type duplex struct {
	*answer
	writer io.Writer
}

func (d *duplex) Write(p []byte) (int, error) { return d.writer.Write(p) }

// CloseWrite is what net/http's own body has; httputil.ReverseProxy asks for it.
func (d *duplex) CloseWrite() error {
	if w, ok := d.writer.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return http.ErrNotSupported
}

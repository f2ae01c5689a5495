package client

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// tap is a connection that remembers how the other side began to speak, which
// tells its protocol, and why it stopped.
type tap struct {
	net.Conn

	mu    sync.Mutex
	head  []byte        // the first bytes read
	err   error         // the first error in reading
	ended chan struct{} // closed with err
}

func newTap(conn net.Conn) *tap { return &tap{Conn: conn, ended: make(chan struct{})} }

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 8 - len(t.head); room > 0 {
		t.head = append(t.head, p[:min(n, room)]...)
	}
	if err != nil && t.err == nil {
		t.err = err
		close(t.ended)
	}
	return n, err
}

// Write lets the reader finish first when it fails: what the other side said
// before it hung up is there to be read, and gRPC would close the connection.
func (t *tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		select {
		case <-t.ended:
		case <-time.After(time.Second):
		}
	}
	return n, err
}

func (t *tap) readErr() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// heard returns the protocol that the first bytes belong to, or "" if there
// were none.
func (t *tap) heard() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return protocol(t.head)
}

func protocol(head []byte) string {
	const settingsFrame, tlsMajor = 4, 3
	switch {
	case len(head) == 0:
		return ""
	case bytes.HasPrefix(head, []byte("HTTP/")):
		return "http/1"
	case len(head) >= 4 && head[3] == settingsFrame:
		return "http/2"
	case len(head) >= 2 && 20 <= head[0] && head[0] <= 23 && head[1] == tlsMajor:
		return "tls"
	}
	return "unknown"
}

package client

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// sniffer is a connection that remembers the first bytes from the other side, which tell its protocol, and
// the error that ended them.
type sniffer struct {
	net.Conn

	mu    sync.Mutex
	head  []byte        // the first bytes read
	err   error         // the first error in reading
	ended chan struct{} // closed with err
}

func newSniffer(conn net.Conn) *sniffer { return &sniffer{Conn: conn, ended: make(chan struct{})} }

func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := 8 - len(s.head); room > 0 {
		s.head = append(s.head, p[:min(n, room)]...)
	}
	if err != nil && s.err == nil {
		s.err = err
		close(s.ended)
	}
	return n, err
}

// Write waits for the reader when it fails: what the other side sent before it closed the connection can
// still be read, and gRPC would close it.
func (s *sniffer) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		select {
		case <-s.ended:
		case <-time.After(time.Second):
		}
	}
	return n, err
}

func (s *sniffer) readErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// protocol returns the protocol that the first bytes belong to, or "" if there
// were none.
func (s *sniffer) protocol() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return protocolOf(s.head)
}

func protocolOf(head []byte) string {
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

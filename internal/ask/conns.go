package ask

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// conns are connections to single endpoints. The client's own connection picks a member for each
// call without regard to whether it answers (gRPC's round_robin has no health checks, and takes tens
// of seconds to notice a silent peer). One particular member is reached by one of these.
type conns struct {
	mu     sync.Mutex
	open   map[string]*conn
	closed bool
}

type conn struct {
	*grpc.ClientConn
	users int
}

// Conn returns the connection to an endpoint, shared by all its users at that time. It does not wait until
// there is one. release gives it back; the last user's closes it.
func (c *Client) Conn(endpoint string) (_ *grpc.ClientConn, release func(), err error) {
	s := &c.conns
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.Err() != nil {
		return nil, nil, ErrClosed
	}
	used := s.open[endpoint]
	if used == nil {
		cc, err := c.cli.Dial(endpoint)
		if err != nil {
			return nil, nil, err
		}
		used = &conn{ClientConn: cc}
		s.open[endpoint] = used
	}
	used.users++
	return used.ClientConn, sync.OnceFunc(func() { s.release(endpoint, used) }), nil
}

func (s *conns) release(endpoint string, used *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used.users--; used.users > 0 {
		return
	}
	used.Close()
	if s.open[endpoint] == used {
		delete(s.open, endpoint)
	}
}

// closeAll ends the calls over all of them: the client is closed.
func (s *conns) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, used := range s.open {
		used.Close()
	}
	clear(s.open)
}

// renew has the next user of an endpoint connect again, where the connection is not established. Those
// that wait to connect are not told to do so now: gRPC's ResetConnectBackoff reads a map that gRPC writes
// to when a connection is young (grpc v1.83, found by the race detector).
func (s *conns) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for endpoint, used := range s.open {
		if used.GetState() != connectivity.Ready {
			delete(s.open, endpoint) // the last user closes it
		}
	}
}

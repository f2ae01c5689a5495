package gate_test

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// A target whose queue of connections is full does not answer, as a host that is down.
func TestATargetThatDoesNotAnswerHoldsUpNoOtherConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := full(t, l)
	g := open(t, silent)
	c := dial(t, g)
	for begin := time.Now(); g.Accepted() == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > soon {
			t.Fatal("no connection was accepted")
		}
	}
	g.SetTarget(echo(t))
	if passes(t, c, 1, soon) {
		t.Error("a connection outlived SetTarget")
	}
	if !passes(t, dial(t, g), 1, soon) {
		t.Error("a new connection gets no answer")
	}
}

// full fills the queue of a listener that accepts nothing.
func full(t *testing.T, l net.Listener) (addr string) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }) // the shortest queue
	}
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	for range 100 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("void: the queue has no end")
	return ""
}

package etcdtest_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// echo listens and sends back what it hears.
func echo(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// says sends a byte and tells whether it comes back within d.
func says(t *testing.T, c net.Conn, d time.Duration) bool {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(d))
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

func TestASilentGateHoldsEverythingBackAndLosesNothing(t *testing.T) {
	g := etcdtest.NewGate(t, echo(t))
	open := func() net.Conn {
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	old := open()
	if !says(t, old, 20*time.Second) {
		t.Fatal("void: an open gate lets nothing through")
	}
	g.Freeze()
	late := open()
	for what, c := range map[string]net.Conn{"a connection": old, "a new connection": late} {
		if says(t, c, 200*time.Millisecond) {
			t.Errorf("%s through a silent gate hears an answer", what)
		}
	}
	g.Unfreeze()
	for what, c := range map[string]net.Conn{"a connection": old, "a new connection": late} {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 1 {
			t.Errorf("%s after the silence: %v, want the answer to what was sent meanwhile", what, err)
		}
	}
	if got := g.Accepted(); got != 2 {
		t.Errorf("%d connections were accepted, want 2", got)
	}
}

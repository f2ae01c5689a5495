package lab_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/bench/lab"
)

// echo serves what it is sent, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T) *lab.Gate {
	t.Helper()
	g, err := lab.OpenGate(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func dial(t *testing.T, g *lab.Gate) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// passes tells whether n bytes come back.
func passes(c net.Conn, n int) bool {
	if _, err := c.Write(make([]byte, n)); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, n))
	return err == nil
}

func TestAGateCountsWhatClientsReceive(t *testing.T) {
	g := open(t)
	c := dial(t, g)
	for _, n := range []int{10, 100_000} {
		before := g.Received()
		if !passes(c, n) {
			t.Fatalf("%d bytes did not come back", n)
		}
		if got := g.Received() - before; got != int64(n) {
			t.Errorf("counted %d bytes, want %d", got, n)
		}
	}
}

func TestABlockedGateResetsAndRefusesUntilItIsUnblocked(t *testing.T) {
	g := open(t)
	c := dial(t, g)
	if !passes(c, 10) {
		t.Fatal("an open gate does not pass")
	}
	g.Block()
	if passes(c, 10) {
		t.Error("a connection outlived the block")
	}
	if passes(dial(t, g), 10) {
		t.Error("a blocked gate let a new connection through")
	}
	g.Unblock()
	if !passes(dial(t, g), 10) {
		t.Error("an unblocked gate does not pass")
	}
}

func TestACutGateLetsNewConnectionsThrough(t *testing.T) {
	g := open(t)
	c := dial(t, g)
	if !passes(c, 10) {
		t.Fatal("an open gate does not pass")
	}
	g.Cut()
	if passes(c, 10) {
		t.Error("a connection outlived the cut")
	}
	if !passes(dial(t, g), 10) {
		t.Error("a gate that was cut once does not pass new connections")
	}
}

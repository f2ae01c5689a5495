package gate_test

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/internal/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves a listener that sends back what it gets, until the test ends.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T, target string) *gate.Gate {
	t.Helper()
	g, err := gate.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func dial(t *testing.T, g *gate.Gate) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// passes tells whether n bytes come back within d.
func passes(t *testing.T, c net.Conn, n int, d time.Duration) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, n)); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, n))
	return err == nil
}

// soon is enough for what must come back, and never for what must not.
const soon = 20 * time.Second

func TestAGateCountsWhatClientsReceive(t *testing.T) {
	g := open(t, echo(t))
	c := dial(t, g)
	for _, n := range []int{10, 100_000} {
		before := g.Received()
		if !passes(t, c, n, soon) {
			t.Fatalf("%d bytes did not come back", n)
		}
		if got := g.Received() - before; got != int64(n) {
			t.Errorf("counted %d bytes, want %d", got, n)
		}
	}
}

func TestASetTargetResetsConnectionsAndLeadsNewOnesThere(t *testing.T) {
	first := echo(t)
	g := open(t, first)
	for _, target := range []string{"", first, echo(t), "", first} {
		c := dial(t, g)
		before := passes(t, c, 10, soon)
		g.SetTarget(target)
		if before && passes(t, c, 10, soon) {
			t.Errorf("a connection outlived SetTarget(%q)", target)
		}
		if got, want := passes(t, dial(t, g), 10, soon), target != ""; got != want {
			t.Errorf("after SetTarget(%q) a new connection passes: %v, want %v", target, got, want)
		}
	}
	if got := g.Accepted(); got != 10 {
		t.Errorf("%d connections were accepted, want 10", got)
	}
}

func TestAGateThatDropsAnswersPassesRequests(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := open(t, l.Addr().String())
	c := dial(t, g)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	g.DropAnswers()
	for conn, text := range map[net.Conn]string{c: "request", server: "answer"} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	_ = server.SetReadDeadline(time.Now().Add(soon))
	got := make([]byte, len("request"))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "request" {
		t.Errorf("the server got %q, %v", got, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(got); n != 0 {
		t.Errorf("the client got %q, %v, want nothing", got[:n], err)
	}
	g.SetTarget(echo(t))
	if !passes(t, dial(t, g), 10, soon) {
		t.Error("no answer after SetTarget")
	}
}

func TestAFrozenGateHoldsEverythingBackAndLosesNothing(t *testing.T) {
	g := open(t, echo(t))
	old := dial(t, g)
	if !passes(t, old, 1, soon) {
		t.Fatal("void: an open gate lets nothing through")
	}
	g.Freeze()
	conns := map[string]net.Conn{"a connection": old, "a new connection": dial(t, g)}
	for what, c := range conns {
		if passes(t, c, 1, 200*time.Millisecond) {
			t.Errorf("%s through a frozen gate gets an answer", what)
		}
	}
	g.Unfreeze()
	for what, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(soon))
		if n, err := c.Read(make([]byte, 1)); n != 1 {
			t.Errorf("%s after Unfreeze: %v, want the answer to what was sent meanwhile", what, err)
		}
	}
}

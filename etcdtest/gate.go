package etcdtest

import (
	"testing"

	"github.com/etcdkit/etcdkit/internal/gate"
)

// Gate is a TCP proxy between a client and a member. It can be shut, can lead to another member or
// another cluster, can lose answers, and can hold everything back. Its methods may be called from any
// goroutine.
type Gate struct{ gate *gate.Gate }

// NewGate returns a gate that leads to target, host:port; nowhere if it is empty. It is closed when the test
// ends.
func NewGate(tb testing.TB, target string) *Gate {
	tb.Helper()
	g, err := gate.Open(target)
	if err != nil {
		tb.Fatalf("etcdtest: %v", err)
	}
	tb.Cleanup(func() { g.Close() })
	return &Gate{g}
}

// Addr is where clients connect, host:port.
func (g *Gate) Addr() string { return g.gate.Addr() }

// SetTarget closes all connections and leads new ones elsewhere; nowhere if target is empty.
// Answers get through again.
func (g *Gate) SetTarget(target string) { g.gate.SetTarget(target) }

// DropAnswers loses what the member sends from now on, until SetTarget; requests still get through.
func (g *Gate) DropAnswers() { g.gate.DropAnswers() }

// Freeze holds everything back both ways, as a lost network does: nothing is reset, new connections
// are accepted and get no answer, and what was sent arrives after Unfreeze.
func (g *Gate) Freeze() { g.gate.Freeze() }

// Unfreeze ends a Freeze. Without one it does nothing.
func (g *Gate) Unfreeze() { g.gate.Unfreeze() }

// Accepted is the number of connections that clients have made so far, also while the gate was shut.
func (g *Gate) Accepted() int { return g.gate.Accepted() }

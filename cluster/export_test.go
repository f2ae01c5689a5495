package cluster

import (
	"io"
	"log/slog"
)

// Warnings passes what a member that serves warns of on.
func Warnings(to *slog.Logger) io.Writer {
	w := &warnings{member: "etcd1", to: to, names: func(text string) string { return text }}
	w.on.Store(true)
	return w
}

// LoseNode makes faults fail at a member, as if it had ended at this moment. restore undoes that.
func (c *Cluster) LoseNode(member string) (restore func()) {
	m, err := c.member(member)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := m.node
	m.node = nil
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		m.node = was
	}
}

// JoinErrors is errors.Join on one line.
var JoinErrors = joinErrors

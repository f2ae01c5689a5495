package cluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/logbuffer"
)

const (
	// startTimeout bounds Start, also for callers without a deadline.
	startTimeout = time.Minute
	// stopTimeout is what a member gets to stop gracefully. etcd gives its clients 7 s.
	stopTimeout = 10 * time.Second
)

// Cluster is a running cluster. Its methods may be called from any goroutine; faults are
// carried out one after another.
type Cluster struct {
	opts    Options
	run     string // sockets, and the data if it is temporary; removed by Close
	data    *dataDir
	net     *network
	members []*member
	reaper  *reaper

	ops  sync.Mutex // one fault at a time, and Close after the last
	once sync.Once
	life context.Context // ends when Close begins
	end  context.CancelFunc
	// serving is set once the cluster is ready: only then client ports are open and warnings are
	// passed on.
	serving atomic.Bool

	lines *logbuffer.Buffer // for Options.Logger, which may call the cluster

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever a member's state or view changes
	agreement agreement
}

// member is one member, whether its node runs or not. Cluster.mu guards what changes.
type member struct {
	name         string
	spec         spec
	client, peer *proxy

	node      node
	status    Status
	view      report
	reason    string
	warnings  *warnings
	stoppedAs Status        // its status after an end that the cluster asked for; "" otherwise
	ended     chan struct{} // closed when the node has ended and its status says so
}

// Start starts a cluster and returns when a linearizable put has gone through every member;
// until then the client ports are closed. When it returns an error nothing is left running and
// nothing temporary is left on disk. ctx bounds the start, at most one minute, and not the
// cluster's life.
func Start(ctx context.Context, opts *Options) (*Cluster, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if !o.InProcess && !canRunMembers.Load() {
		return nil, fmt.Errorf("%w: members run as this program executed again; call cluster.RunMember first thing in main (etcdtest.Main in a TestMain), or set Options.InProcess", ErrNoRunMember)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{opts: o, net: newNetwork(), lines: logbuffer.New(o.Logger), changed: make(chan struct{})}
	c.life, c.end = context.WithCancel(context.Background())
	if err := c.start(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.openDirs(); err != nil {
		return err
	}
	if err := c.openPorts(); err != nil {
		return err
	}
	if !c.data.reused {
		if err := c.data.discardBootstrap(); err != nil {
			return err
		}
		c.data.record.Members = c.portRecords()
	}
	c.data.record.Etcd = version.Version
	if err := c.data.save(); err != nil {
		return err
	}
	for _, m := range c.members {
		if err := c.launch(m); err != nil {
			return err
		}
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	c.data.record.Served = true // before the first client can write
	if err := c.data.save(); err != nil {
		return err
	}
	c.serving.Store(true)
	for _, m := range c.members {
		c.openToClients(m)
	}
	return nil
}

// openToClients opens the member to clients.
func (c *Cluster) openToClients(m *member) {
	if c.serving.Load() {
		m.client.open.Store(true)
		m.warnings.on.Store(true)
	}
}

func (c *Cluster) openDirs() error {
	var err error
	if c.run, err = os.MkdirTemp(shortTemp(), "etcdkit-"); err != nil {
		return errtext.Errorf("%w: temporary directory: %w", ErrDataDir, err)
	}
	if c.reaper, err = startReaper(c.run); err != nil {
		return err
	}
	dir := c.opts.DataDir
	if dir == "" {
		dir = filepath.Join(c.run, "data")
	}
	c.data, err = openDataDir(dir, c.opts.Members, c.opts.DataDir != "")
	return err
}

// shortTemp avoids a long TMPDIR: a unix socket's path may have about 100 bytes.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) <= 60 {
		return dir
	}
	return "/tmp"
}

// launch starts the member's node. Its ports are open.
func (c *Cluster) launch(m *member) error {
	if c.life.Err() != nil {
		return ErrClosed
	}
	warnings := &warnings{member: m.name, to: c.opts.Logger, names: c.nameIDs}
	var n node
	m.client.freeForMember()
	m.peer.freeForMember()
	known := make(chan struct{}) // the node may report before m.node is set
	to := nodeEvents{
		warning: warnings,
		bound:   func() { m.peer.open.Store(true) },
		report:  func(r report) { <-known; c.recordReport(m, n, r) },
	}
	if c.opts.InProcess {
		n = startLocal(m.spec, to)
	} else {
		p, err := startProcess(m.spec, to)
		if err != nil {
			return err
		}
		n = p
		c.reaper.add(p.pid())
	}
	c.mu.Lock()
	m.node, m.status, m.view, m.reason, m.warnings, m.stoppedAs = n, Starting, report{ID: m.view.ID}, "", warnings, ""
	ended := make(chan struct{})
	m.ended = ended
	c.broadcast()
	c.mu.Unlock()
	close(known)
	go func() { // ends with the node
		<-n.done()
		c.nodeEnded(m, n)
		close(ended)
	}()
	return nil
}

// nameIDs replaces the members' ids in a text that etcd wrote by their names.
func (c *Cluster) nameIDs(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.view.ID != 0 {
			text = strings.ReplaceAll(text, fmt.Sprintf("%x", m.view.ID), m.name)
		}
	}
	return text
}

// recordReport records what a member reports of itself.
func (c *Cluster) recordReport(m *member, n node, r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.node != n {
		return
	}
	if m.status == Starting {
		m.status = Running
		c.openToClients(m)
	}
	m.view = r
	c.broadcast()
}

// nodeEnded records that a node has ended.
func (c *Cluster) nodeEnded(m *member, n node) {
	m.client.closePort()
	m.peer.closePort()
	defer c.lines.Flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	m.node, m.view, m.status = nil, report{ID: m.view.ID}, m.stoppedAs
	if m.stoppedAs == "" {
		m.status, m.reason = Failed, cmp.Or(n.failure(), m.warnings.endReason(), "its etcd stopped by itself")
		q := c.quorum()
		c.lines.Add(slog.LevelError, fmt.Sprintf("member ended: %s · quorum %d/%d", m.reason, q.Up, q.Size), "member", m.name, "log", m.spec.LogFile)
	}
	c.broadcast()
}

// broadcast wakes every call that waits for a change. c.mu is held.
func (c *Cluster) broadcast() {
	c.recordAgreement()
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits for ok, which is called with c.mu held after each change.
func (c *Cluster) until(ctx context.Context, ok func() bool) error {
	for {
		c.mu.Lock()
		if ok() {
			c.mu.Unlock()
			return nil
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.life.Done():
			return ErrClosed
		}
	}
}

// endNode ends the member's node in the given way, or kills it if that takes too long, and waits until
// nothing of it is left. as is the member's status afterwards.
func (c *Cluster) endNode(m *member, as Status, how func(node)) error {
	c.mu.Lock()
	n, ended, warnings := m.node, m.ended, m.warnings
	m.stoppedAs = as
	paused := m.status == Paused
	if m.status == Starting {
		how = node.kill // it cannot listen before it serves
	}
	c.mu.Unlock()
	if n == nil {
		return nil
	}
	warnings.on.Store(false)
	m.client.closePort() // or etcd would wait for its clients
	for _, way := range []func(node){how, node.kill} {
		way(n)
		if p, ok := n.(*process); ok && paused {
			_ = resume(p.cmd.Process)
		}
		t := time.NewTimer(stopTimeout)
		defer t.Stop()
		select {
		case <-ended:
			return nil
		case <-t.C:
		}
	}
	return fmt.Errorf("cluster: %s does not end (its log: %s)", m.name, m.spec.LogFile)
}

// Close stops every member and removes what is temporary. It is idempotent. Kept data is
// closed gracefully, within 10 s; temporary data is not worth the time.
func (c *Cluster) Close() error {
	var err error
	c.once.Do(func() { err = c.close() })
	return err
}

func (c *Cluster) close() error {
	c.end() // a fault stops waiting
	c.ops.Lock()
	defer c.ops.Unlock()
	how := node.kill
	if c.opts.DataDir != "" {
		how = node.stopWithoutHandOver
	}
	errs := []error{c.endAll(c.members, Stopped, how)}
	for _, m := range c.members {
		m.client.close()
		m.peer.close()
	}
	if c.data != nil {
		errs = append(errs, c.data.lock.Close())
	}
	if c.run != "" {
		errs = append(errs, os.RemoveAll(c.run))
	}
	c.reaper.stop()
	return joinErrors(errs)
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/version"
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
	done chan struct{} // closed by Close
	// serving is set once the cluster was ready: only then client ports are open and warnings
	// passed on.
	serving atomic.Bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a member's state or view changes
}

// member is one member, whether its node runs or not. Cluster.mu guards what changes.
type member struct {
	name         string
	spec         spec
	client, peer *proxy

	node     node
	status   Status
	view     report
	reason   string
	warnings *warnings
	leaving  Status        // what it is after an end that is our doing; "" while it is not
	gone     chan struct{} // closed when the node's end was taken note of
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
	if !o.InProcess && !hooked.Load() {
		return nil, fmt.Errorf("%w: members run as this program executed again; call cluster.RunMember first thing in main (etcdtest.Main in a TestMain), or set Options.InProcess", ErrNoHook)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{opts: o, net: newNetwork(), done: make(chan struct{}), changed: make(chan struct{})}
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
		c.admit(m)
	}
	return nil
}

// admit opens the member to clients.
func (c *Cluster) admit(m *member) {
	if c.serving.Load() {
		m.client.open.Store(true)
		m.warnings.on.Store(true)
	}
}

func (c *Cluster) openDirs() error {
	var err error
	if c.run, err = os.MkdirTemp(shortTemp(), "etcdkit-"); err != nil {
		return fmt.Errorf("%w: temporary directory: %w", ErrDataDir, err)
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
	select {
	case <-c.done:
		return ErrClosed
	default:
	}
	warnings := &warnings{member: m.name, to: c.opts.Logger, names: c.nameIDs}
	var n node
	m.client.yield()
	m.peer.yield()
	known := make(chan struct{}) // the node may speak before it is known
	to := ear{
		warning: warnings,
		bound:   func() { m.peer.open.Store(true) },
		report:  func(r report) { <-known; c.see(m, n, r) },
	}
	if c.opts.InProcess {
		n = startLocal(m.spec, to)
	} else {
		p, err := startProcess(m.spec, to)
		if err != nil {
			return err
		}
		n = p
		c.reaper.wake(p.pid())
	}
	c.mu.Lock()
	m.node, m.status, m.view, m.reason, m.warnings, m.leaving = n, Starting, report{ID: m.view.ID}, "", warnings, ""
	m.gone = make(chan struct{})
	gone := m.gone
	c.broadcast()
	c.mu.Unlock()
	close(known)
	go func() { // ends with the node
		<-n.done()
		c.buried(m, n)
		close(gone)
	}()
	return nil
}

// nameIDs puts members' names where etcd speaks of their ids.
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

// see takes note of what a member says of itself.
func (c *Cluster) see(m *member, n node, r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.node != n {
		return
	}
	if m.status == Starting {
		m.status = Running
		c.admit(m)
	}
	m.view = r
	c.broadcast()
}

// buried takes note of a node's end.
func (c *Cluster) buried(m *member, n node) {
	m.client.mute()
	m.peer.mute()
	c.mu.Lock()
	defer c.mu.Unlock()
	m.node, m.view, m.status = nil, report{ID: m.view.ID}, m.leaving
	if m.leaving == "" {
		m.status, m.reason = Failed, n.failure()
		q := c.quorum()
		c.opts.Logger.Error(fmt.Sprintf("member ended: %s · quorum %d/%d", m.reason, q.Up, q.Size), "member", m.name, "log", m.spec.LogFile)
	}
	c.broadcast()
}

// broadcast wakes whoever waits for a change. c.mu is held.
func (c *Cluster) broadcast() {
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
		case <-c.done:
			return ErrClosed
		}
	}
}

// end ends the member's node, by one of its ways to end, and waits until nothing of it is left. as is
// the member's state afterwards.
func (c *Cluster) end(m *member, as Status, how func(node)) error {
	c.mu.Lock()
	n, gone, warnings := m.node, m.gone, m.warnings
	m.leaving = as
	paused := m.status == Paused
	if m.status == Starting {
		how = node.kill // it cannot listen before it serves
	}
	c.mu.Unlock()
	if n == nil {
		return nil
	}
	warnings.on.Store(false)
	m.client.mute() // or etcd would wait for its clients
	for _, end := range []func(node){how, node.kill} {
		end(n)
		if p, ok := n.(*process); ok && paused {
			_ = resume(p.cmd.Process)
		}
		t := time.NewTimer(stopTimeout)
		defer t.Stop()
		select {
		case <-gone:
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
	close(c.done) // ends what a fault waits for
	c.ops.Lock()
	defer c.ops.Unlock()
	how := node.kill
	if c.opts.DataDir != "" {
		how = node.halt
	}
	ends := make(chan error, len(c.members))
	for _, m := range c.members {
		go func() {
			err := c.end(m, Stopped, how)
			m.client.close()
			m.peer.close()
			ends <- err
		}()
	}
	var errs []error
	for range c.members {
		errs = append(errs, <-ends)
	}
	if c.data != nil {
		errs = append(errs, c.data.lock.Close())
	}
	if c.run != "" {
		errs = append(errs, os.RemoveAll(c.run))
	}
	c.reaper.dismiss()
	return errors.Join(errs...)
}

// Endpoints are the client addresses, host:port, or https URLs with ClientTLS; of all members,
// in order, whether they run or not.
func (c *Cluster) Endpoints() []string {
	var eps []string
	for _, m := range c.members {
		eps = append(eps, c.endpoint(m))
	}
	return eps
}

func (c *Cluster) endpoint(m *member) string {
	if c.opts.ClientTLS != nil {
		return m.spec.ClientURL
	}
	return m.client.addr
}

// Endpoint is the client address of one member; "leader" and "follower" are names, too.
func (c *Cluster) Endpoint(name string) (string, error) {
	m, err := c.member(name)
	if err != nil {
		return "", err
	}
	return c.endpoint(m), nil
}

// Names are the members', in order.
func (c *Cluster) Names() []string {
	var names []string
	for _, m := range c.members {
		names = append(names, m.name)
	}
	return names
}

// Leader is the leader's name as the majority sees it, or "".
func (c *Cluster) Leader() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quorum().Leader
}

// Member is the name of the member that a name means now: of "leader", or of "follower". A fault on "leader"
// is undone on the member that led, which needs its name.
func (c *Cluster) Member(name string) (string, error) {
	m, err := c.member(name)
	if err != nil {
		return "", err
	}
	return m.name, nil
}

const (
	theLeader  = "leader"   // the member that leads now
	aFollower  = "follower" // the first one that is up and does not lead
	allMembers = "all"      // every member that a fault can be done to
)

// member finds a member by name, or by its role at this moment.
func (c *Cluster) member(name string) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.quorum()
	switch name {
	case theLeader:
		name = q.Leader
	case aFollower:
		name = ""
		for _, m := range c.members {
			if slices.Contains(q.up, m) && q.Leader != "" && m.name != q.Leader {
				name = m.name
				break
			}
		}
	case "":
		return nil, &UnknownMemberError{Name: name, Known: append(c.Names(), theLeader, aFollower)}
	}
	if name == "" {
		return nil, fmt.Errorf("%w at this moment; name a member: %s", ErrNoLeader, strings.Join(c.Names(), ", "))
	}
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == name })
	if i < 0 {
		return nil, &UnknownMemberError{Name: name, Known: append(c.Names(), theLeader, aFollower)}
	}
	return c.members[i], nil
}

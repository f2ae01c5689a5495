package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
)

// table are the open handles of a column.
type table struct {
	t       *testing.T
	s       *situation
	handles []*watched
}

// at is where the handles of a test are.
type at struct {
	endpoints []string
	other     *clientv3.Client
	prefix    string
	ttl       time.Duration
	user      string
	keeper    *lease.Keeper // shared by the rows; nil: each has its own
}

// open opens all rows to which the situation applies, each on a client of its own.
func open(t *testing.T, s *situation, a at) *table {
	t.Helper()
	return openRows(t, s, a, func(t testing.TB) (*clientv3.Client, *traffic) { return connect(t, a.endpoints, a.user) })
}

// openShared opens all rows on one client and one Keeper.
func openShared(t *testing.T, s *situation, a at) (*table, *traffic) {
	t.Helper()
	cli, tr := connect(t, a.endpoints, a.user)
	k := lease.NewKeeper(cli, &lease.Options{TTL: a.ttl})
	t.Cleanup(func() { _ = k.Close() }) // what it must come to is another column's
	a.keeper = k
	return openRows(t, s, a, func(testing.TB) (*clientv3.Client, *traffic) { return cli, tr }), tr
}

func openRows(t *testing.T, s *situation, a at, connect func(testing.TB) (*clientv3.Client, *traffic)) *table {
	t.Helper()
	tb := &table{t: t, s: s}
	ctx := bounded(t)
	var wg sync.WaitGroup
	for i, r := range rows() {
		p, n := s.promised(r.name)
		if n != 1 {
			t.Fatalf("%s × %s: %d promises", r.name, s.short, n)
		}
		w := &watched{row: r, p: p, told: make(chan time.Time, 1)}
		tb.handles = append(tb.handles, w)
		if p.not != "" {
			continue
		}
		cli, tr := connect(t)
		w.traffic = tr
		w.place = &place{cli: cli, other: a.other, name: fmt.Sprint(a.prefix, ".", i), ttl: a.ttl, keeper: a.keeper}
		wg.Go(func() {
			began := time.Now()
			h, err := r.open(ctx, w.place)
			if err != nil {
				t.Errorf("open %s: %v", r.name, err)
				return
			}
			w.handle, w.opened = h, time.Since(began)
			go w.watch(t.Context()) // until the test ends
		})
	}
	wg.Wait()
	t.Cleanup(func() { // Before the clients', which were connected earlier, are closed.
		var wg sync.WaitGroup
		for _, w := range tb.handles {
			if w.handle != nil {
				wg.Go(func() { _ = w.close() }) // what it must come to is another column's
			}
		}
		wg.Wait()
	})
	return tb
}

// each runs f for all rows side by side, so that a column takes as long as its slowest row, and
// reports each row as a subtest. Rows to which the situation does not apply say why.
func (tb *table) each(f func(t *cell, w *watched)) {
	cells := make([]*cell, len(tb.handles))
	var wg sync.WaitGroup
	for i, w := range tb.handles {
		cells[i] = &cell{ctx: tb.t.Context()}
		if w.p.not == "" {
			wg.Go(func() {
				cells[i].run(func() {
					if w.handle == nil {
						cells[i].Fatalf("it could not be opened")
					}
					f(cells[i], w)
				})
			})
		}
	}
	wg.Wait()
	for i, w := range tb.handles {
		tb.t.Run(w.row.name, func(t *testing.T) {
			if w.p.not != "" {
				t.Skip("does not apply: " + w.p.not)
			}
			cells[i].tell(t)
		})
	}
}

// cell is a row's test in a column, which runs at the same time as the others and is reported afterwards.
type cell struct {
	ctx context.Context

	mu      sync.Mutex
	lines   []string
	failed  bool
	cleanup []func()
}

func (c *cell) run(f func()) {
	done := make(chan struct{})
	go func() { // a goroutine of its own, which Fatalf ends
		defer close(done)
		f()
	}()
	<-done
	for _, f := range c.cleanup {
		f()
	}
}

func (c *cell) tell(t *testing.T) {
	for _, line := range c.lines {
		t.Log(line)
	}
	if c.failed {
		t.Fail()
	}
}

func (c *cell) Helper()                  {}
func (c *cell) Context() context.Context { return c.ctx }
func (c *cell) Cleanup(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleanup = append(c.cleanup, f)
}

func (c *cell) Logf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, fmt.Sprintf(format, args...))
}

func (c *cell) Errorf(format string, args ...any) {
	c.Logf("FAILS: "+format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

func (c *cell) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	runtime.Goexit()
}

// tester is what a cell and a *testing.T have in common.
type tester interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// all runs f for every row side by side, without subtests.
func (tb *table) all(f func(w *watched)) {
	var wg sync.WaitGroup
	for _, w := range tb.handles {
		if w.handle != nil {
			wg.Go(func() { f(w) })
		}
	}
	wg.Wait()
}

// inTime asserts a promised time.
func inTime(t tester, what string, took, promised time.Duration) {
	t.Helper()
	t.Logf("%s after %v", what, took.Round(100*time.Microsecond))
	if took > promised && !means.Race {
		t.Errorf("%s after %v, want %v at the most", what, took.Round(ms), promised)
	}
}

// endsAfter asserts that the handle has ended as promised.
func (w *watched) endsAfter(t tester, since time.Time) {
	t.Helper()
	select {
	case told := <-w.told:
		inTime(t, "told", told.Sub(since), w.p.within)
	case <-time.After(max(10*time.Second, 2*w.p.within)):
		t.Fatalf("it is not told: Err is %v", w.err())
	}
	if err := w.err(); !w.p.err.is(err) {
		t.Errorf("its error is %v, want %s", err, w.p.err.name)
	} else {
		t.Logf("error: %v", err)
	}
	namesOnePackage(t, "its error", w.err())
}

// packageName is the name of one of etcdkit's packages, as an error begins with it.
var packageName = regexp.MustCompile(`(^|[:;,(\n] ?)(client|cluster|discovery|election|fence|grpcresolver|health|httptransport|lease|lock|mirror|queue|registry): `)

// namesOnePackage asserts that an error does not say of each layer in which package it is.
func namesOnePackage(t tester, what string, err error) {
	t.Helper()
	if err != nil && len(packageName.FindAllString(err.Error(), -1)) > 1 {
		t.Errorf("%s: %q names more than one package", what, err)
	}
}

// staysAlive asserts that the handle has not ended, and does its work.
func (w *watched) staysAlive(t tester) {
	t.Helper()
	if err := w.alive(t.Context()); err != nil {
		t.Errorf("it does not work: %v", err)
	}
}

const (
	tidyTime = 2 * time.Second // until nothing is left, where it is not for expiry
	// expiryTime is how long after its TTL a lease may be seen. etcd looks twice a second, and when it is busy
	// with others, looks at this one again after 3 s.
	expiryTime = 4 * time.Second
)

// keyLeft asserts what is in etcd afterwards. How long it takes to go is counted from since: when
// the handle ended, or, if etcd was away then, when it was back.
func (w *watched) keyLeft(t tester, key string, since time.Time) {
	t.Helper()
	if key == "" || w.p.left == "" {
		return
	}
	most := w.place.ttl + expiryTime
	if w.p.left == nothing {
		most = tidyTime
	}
	ctx, cancel := context.WithTimeout(t.Context(), most+15*time.Second)
	defer cancel()
	if w.p.left == itsKey {
		if err := until(ctx, func() error { return there(ctx, w.place.other, key) }); err != nil {
			t.Errorf("in etcd afterwards: %v, want %s", err, w.p.left)
		}
		return
	}
	if err := until(ctx, func() error { return absent(ctx, w.place.other, key) }); err != nil {
		t.Errorf("in etcd afterwards: %v, want %s", err, w.p.left)
		return
	}
	inTime(t, "its key is gone", time.Since(since), most)
}

// keyStays asserts, of what is left until its lease expires, that nothing else deletes it.
func (w *watched) keyStays(t tester, key string) {
	t.Helper()
	if w.p.left != untilExpiry {
		return
	}
	if err := there(bounded(t), w.place.other, key); err != nil {
		t.Errorf("in etcd right afterwards: %v, want %s", err, w.p.left)
	}
}

// callAll makes all of the handle's calls side by side, each with a deadline, and tells of each how
// long it took, how long after the end of its context it returned (0: before it), and its error. The
// calls that end the handle are the last.
func (w *watched) callAll(t tester, deadline time.Duration, tell func(c call, took, overdue time.Duration, err error)) {
	t.Helper()
	for _, last := range []bool{false, true} {
		var wg sync.WaitGroup
		for _, c := range w.calls {
			if c.ends() != last {
				continue
			}
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				ended := make(chan time.Time, 1)
				defer context.AfterFunc(ctx, func() { ended <- time.Now() })() // a timer of a busy process is late
				began := time.Now()
				err := c.do(ctx)
				returned := time.Now()
				overdue := time.Duration(0)
				if ctx.Err() != nil {
					overdue = max(0, returned.Sub(<-ended))
				}
				tell(c, returned.Sub(began), overdue, err)
				namesOnePackage(t, c.name, err)
			})
		}
		wg.Wait()
	}
}

// keys are those on which the handles stand.
func (tb *table) keys(t *testing.T) map[*watched]string {
	t.Helper()
	keys := make(map[*watched]string)
	for _, w := range tb.handles {
		if w.handle == nil {
			continue
		}
		key, err := w.key(bounded(t))
		if err != nil {
			t.Fatalf("%s: %v", w.row.name, err)
		}
		keys[w] = key
	}
	return keys
}

// traffics reads a counter of each handle's client.
func (tb *table) traffics(read func(*traffic) int64) map[*watched]int64 {
	counts := make(map[*watched]int64)
	for _, w := range tb.handles {
		if w.traffic != nil {
			counts[w] = read(w.traffic)
		}
	}
	return counts
}

var errNotStale = errors.New("it does not say that it is stale")

// alive is nil if the handle has not ended, and does its work.
func (w *watched) alive(ctx context.Context) error {
	select {
	case <-w.done:
		return fmt.Errorf("it has ended: %w", w.err())
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return w.works(ctx)
}

// worksAgain asserts that the handle does its work within the time after the situation was over.
func (w *watched) worksAgain(t tester, healed time.Time) {
	t.Helper()
	if err := w.alive(t.Context()); err != nil {
		t.Errorf("it does not work again: %v", err)
	}
	inTime(t, "works again", time.Since(healed), w.p.within)
}

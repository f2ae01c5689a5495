package httptransport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

const ttl = 2 * time.Second

// load is what became of requests that were sent at a steady rate, whatever became of those before
// (as long as there are no more than atOnce of them, as on a machine that cannot keep up).
type load struct {
	stop func()

	mu     sync.Mutex
	sent   int
	open   map[string]bool  // not answered so far, by the number of the request
	failed map[string]error // by the number of the request
	by     map[string]int   // answers, by instance
}

// drive sends requests until the load is stopped. The request has its number in X-Request if it
// must be counted where it arrives.
func (s *site) drive(t *testing.T, rate int, counted bool, request func() *http.Request) *load {
	const tick, atOnce = 5 * time.Millisecond, 256
	l := &load{open: map[string]bool{}, failed: map[string]error{}, by: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { // ends with stop
		pace := time.NewTicker(tick)
		defer pace.Stop()
		room := make(chan struct{}, atOnce)
		for n, due := 0, 0.0; ; {
			select {
			case <-pace.C:
			case <-ctx.Done():
				return
			}
			for due += float64(rate) * tick.Seconds(); due >= 1; due-- {
				select {
				case room <- struct{}{}:
				case <-ctx.Done():
					return
				}
				req, id := request(), strconv.Itoa(n)
				n++
				if counted {
					req.Header.Set("X-Request", id)
				}
				l.mu.Lock()
				l.open[id] = true
				l.mu.Unlock()
				all.Go(func() {
					defer func() { <-room }()
					code, by, err := s.ask(req)
					if err == nil && code != http.StatusOK {
						err = fmt.Errorf("status %d", code)
					}
					l.mu.Lock()
					defer l.mu.Unlock()
					l.sent++
					delete(l.open, id)
					if err != nil {
						l.failed[id] = err
					} else {
						l.by[by]++
					}
				})
			}
		}
	})
	l.stop = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(l.stop)
	return l
}

// wantNoFailure stops the load and wants all of it answered.
func (l *load) wantNoFailure(t *testing.T, atLeast int) {
	t.Helper()
	l.stop()
	if l.sent < atLeast {
		t.Errorf("void: %d requests, want at least %d", l.sent, atLeast)
	}
	for n, err := range l.failed {
		t.Errorf("%d of %d requests failed, such as %s: %v", len(l.failed), l.sent, n, err)
		break
	}
}

func (l *load) answers(by string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[by]
}

// settled waits until the requests that have begun have ended.
func (l *load) settled(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	begun := maps.Clone(l.open)
	l.mu.Unlock()
	eventually(t, "all that had begun is answered", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		maps.DeleteFunc(begun, func(id string, _ bool) bool { return !l.open[id] })
		return len(begun) == 0
	})
}

// served waits until an instance has answered n more requests.
func (l *load) served(t *testing.T, by string, n int) {
	t.Helper()
	n += l.answers(by)
	eventually(t, fmt.Sprintf("%s answers", by), func() bool { return l.answers(by) >= n })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := bounded(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// lines counts the connections to each address, and dials that were refused.
type lines struct {
	mu                  sync.Mutex
	open, made, refused map[string]int
}

func (l *lines) base() *http.Transport {
	l.open, l.made, l.refused = map[string]int{}, map[string]int{}, map[string]int{}
	return &http.Transport{MaxIdleConnsPerHost: 100, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			l.add(l.refused, addr, 1)
			return nil, err
		}
		l.add(l.open, addr, 1)
		l.add(l.made, addr, 1)
		return &line{Conn: conn, closed: sync.OnceFunc(func() { l.add(l.open, addr, -1) })}, nil
	}}
}

func (l *lines) add(to map[string]int, addr string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to[addr] += n
}

func (l *lines) of(addr string) (open, made, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[addr], l.made[addr], l.refused[addr]
}

type line struct {
	net.Conn
	closed func()
}

func (l *line) Close() error {
	l.closed()
	return l.Conn.Close()
}

func get(t *testing.T) func() *http.Request {
	return func() *http.Request { return request(t, "GET", nil) }
}

// Each request that is sent again has cost a connection: one that was open, and broke, or one that
// was tried, and refused. Of the latter there are those that came before the first failure was
// known, and then one or a few whenever the instance has cooled down and is not yet gone.
func TestAKilledInstanceCostsARetryPerConnectionAndNoFailure(t *testing.T) {
	for _, rate := range []int{300, 2000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			var lines lines
			s := newSite(t, &httptransport.Options{Base: lines.base()})
			victim := s.start(t, "a", ttl)
			s.start(t, "b", ttl)
			s.start(t, "c", ttl)
			s.until("a b c")
			l := s.drive(t, rate, false, func() *http.Request {
				req := request(t, "GET", nil)
				req.URL.RawQuery = "pause=10ms" // so that some are under way at any moment
				return req
			})
			l.served(t, "a", rate/3)
			before, died := s.Stats().Retries, time.Now()
			open, made, _ := lines.of(victim.addr)
			victim.signal(os.Kill)
			l.served(t, "b", rate/6)
			atOnce, took := int(s.Stats().Retries-before), time.Since(died)
			s.until("b c")
			l.served(t, "b", rate/3)
			l.wantNoFailure(t, rate)
			retries := int(s.Stats().Retries - before)
			_, all, refused := lines.of(victim.addr)
			open += all - made // those that it has accepted since, while it died
			t.Logf("%d requests, 0 failed; %d connections to the killed one, %d requests sent again: %d in the first %v, %d until it was gone; %d connections refused",
				l.sent, open, retries, atOnce, took.Round(time.Millisecond), retries-atOnce, refused)
			if retries < 1 || retries > open+refused || refused > open+rate/10 {
				t.Errorf("%d sent again and %d connections refused, want no more than the %d connections and a few", retries, refused, open)
			}
		})
	}
}

func TestAStoppedInstanceCostsNoRequestWithAnAnswerTimeout(t *testing.T) {
	const rate, timeout = 500, 200 * time.Millisecond
	s := newSite(t, &httptransport.Options{AnswerTimeout: timeout})
	victim := s.start(t, "a", ttl)
	s.start(t, "b", ttl)
	s.start(t, "c", ttl)
	s.until("a b c")
	l := s.drive(t, rate, false, get(t))
	l.served(t, "a", rate/3)
	before := s.Stats()
	victim.signal(syscall.SIGSTOP)
	s.until("b c")
	l.served(t, "b", rate/3)
	stopped := s.Stats().Retries - before.Retries
	victim.signal(syscall.SIGCONT)
	s.until("a b c")
	l.served(t, "a", rate/3)
	l.wantNoFailure(t, rate)
	t.Logf("%d requests, 0 failed, %d sent again after %v without an answer", l.sent, stopped, timeout)
	if stopped < 1 {
		t.Error("void: no request met the stopped instance")
	}
}

func TestAnInstanceThatDrainsAndShutsDownCostsNoRequest(t *testing.T) {
	const rate = 2000
	s := newSite(t, nil)
	for _, id := range []string{"a", "b", "c"} {
		s.start(t, id, ttl)
	}
	s.until("a b c")
	began := time.Now()
	gets := s.drive(t, rate/2, false, get(t))
	posts := s.drive(t, rate/2, false, func() *http.Request {
		return request(t, "POST", struct{ io.Reader }{strings.NewReader("cannot be had twice")})
	})
	for _, id := range []string{"d", "e"} { // a rolling restart
		fresh := s.start(t, id, ttl)
		gets.served(t, id, rate/10)
		fresh.tell("drain")
		eventually(t, id+" drains", func() bool {
			all := s.view().Instances()
			n := slices.IndexFunc(all, func(i *discovery.Instance) bool { return i.ID == id })
			return n >= 0 && all[n].Status == registry.Draining
		})
		gets.settled(t)
		posts.settled(t)
		fresh.leave()
		gets.served(t, "a", rate/10)
	}
	gets.wantNoFailure(t, rate)
	posts.wantNoFailure(t, rate)
	t.Logf("%d GETs and %d POSTs in %v, 0 failed, %d sent again", gets.sent, posts.sent, time.Since(began).Round(time.Millisecond), s.Stats().Retries)
}

func TestNoPostArrivesTwice(t *testing.T) {
	for name, key := range map[string]bool{"plain": false, "with an idempotency key": true} {
		t.Run(name, func(t *testing.T) {
			const rate = 300
			s := newSite(t, nil)
			instances := []*instance{s.start(t, "a", ttl), s.start(t, "b", ttl), s.start(t, "c", ttl)}
			s.until("a b c")
			l := s.drive(t, rate, true, func() *http.Request {
				req := request(t, "POST", strings.NewReader("once"))
				req.URL.RawQuery = "pause=50ms"
				if key {
					req.Header.Set("Idempotency-Key", "k")
				}
				return req
			})
			l.served(t, "a", rate/3)
			instances[0].signal(os.Kill)
			s.until("b c")
			l.served(t, "b", rate/3)
			l.stop()
			arrived := make(map[string]int)
			for _, i := range instances {
				i.signal(os.Kill) // or already
				_ = i.wait()      // killed, it says
				for n, times := range i.got {
					arrived[n] += times
				}
			}
			twice, lost := 0, 0
			for n := range l.sent {
				id := strconv.Itoa(n)
				switch times := arrived[id]; {
				case times > 1:
					twice++
				case times == 0 && l.failed[id] == nil:
					lost++
				}
			}
			t.Logf("%d POSTs, %d failed, %d arrived twice, %d sent again", l.sent, len(l.failed), twice, s.Stats().Retries)
			if lost > 0 {
				t.Errorf("%d were answered and never arrived", lost)
			}
			if key { // which shows that the count above can see it
				if twice == 0 || len(l.failed) > 0 {
					t.Errorf("%d arrived twice and %d failed, want some and none", twice, len(l.failed))
				}
				return
			}
			if twice > 0 {
				t.Errorf("%d arrived twice", twice)
			}
			for n, err := range l.failed {
				if !strings.Contains(err.Error(), "a POST may have arrived") || errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s failed though it cannot have arrived: %v", n, err)
				}
			}
		})
	}
}

func TestEtcdsMembersMayDieMeanwhile(t *testing.T) {
	const rate = 500
	c := etcdtest.NewCluster(t, nil)
	s := siteAt(t, etcdtest.Client(t, c), "/services/", nil)
	s.start(t, "a", 5*time.Second)
	s.start(t, "b", 5*time.Second)
	s.until("a b")
	l := s.drive(t, rate, false, get(t))
	l.served(t, "a", rate/4)
	for _, name := range c.Names()[:2] { // the second one takes the quorum
		if _, err := c.Kill(bounded(t), name); err != nil {
			t.Fatal(err)
		}
		l.served(t, "a", rate)
	}
	eventually(t, "the list is stale", func() bool { return !s.view().State().Fresh })
	l.served(t, "a", rate)
	for _, name := range c.Names()[:2] {
		if _, err := c.Start(bounded(t), name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the list is fresh", func() bool { return s.view().State().Fresh })
	l.served(t, "a", rate)
	l.wantNoFailure(t, 5*rate)
	t.Logf("%d requests, 0 failed, %d sent again", l.sent, s.Stats().Retries)
}

package httptransport_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/discovery/internal/steady"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// An instance that is stopped takes connections and answers nothing. Of the requests that begin
// after the first one has failed none is lost, if it can be sent again: an instance that failed has
// half of a request's time.
func TestAHungInstanceCostsNoRequestOnceItHasFailed(t *testing.T) {
	const rate, timeout, forSo = 200, time.Second, 7 * time.Second // two pauses, and a try after each
	s := newSite(t, nil)
	s.Client.Timeout = timeout
	hung := s.start(t, "hung", time.Minute)
	s.start(t, "well", time.Minute)
	s.until("hung well")
	calls := steady.Start(t, rate, func() (string, error) {
		_, by, err := s.get()
		return by, err
	})
	eventually(t, "both answer", func() bool {
		return calls.Answered("hung", time.Time{}) > 0 && calls.Answered("well", time.Time{}) > 0
	})
	stopped := time.Now()
	hung.signal(syscall.SIGSTOP)
	eventually(t, "some seconds", func() bool { return time.Since(stopped) > forSo })
	all := calls.All()
	failed, late, first := steady.Failures(all, func(c steady.Call) bool { return strings.Contains(c.Err.Error(), "instance hung ") })
	t.Logf("%d of %d requests failed in %v, %d of those that began after the first failure, %v after it was stopped; %d sent again",
		failed, len(all), forSo, late, first.Sub(stopped).Round(time.Millisecond), s.Stats().Retries)
	if failed == 0 {
		t.Fatal("void: no request met the hung instance")
	}
	if late > 0 {
		t.Errorf("%d requests failed that began after the first failure, want none", late)
	}
	resumed := time.Now()
	hung.signal(syscall.SIGCONT)
	eventually(t, "it is used again", func() bool { return calls.Answered("hung", resumed) > rate/4 })
}

func TestAnInstanceThatAnswers503IsAvoided(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		most   int32 // requests that meet it, besides one a second
	}{
		"three in a row":              {"", 3},
		"one that says when to retry": {"1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, atA, _ := pair(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				status(503)(w, r)
			})
			began := time.Now()
			for range 200 {
				if code, _, err := s.get(); code != 200 {
					t.Errorf("got %d, %v", code, err)
				}
			}
			if n, most := atA.Load(), c.most+int32(time.Since(began)/time.Second); n < 1 || n > most {
				t.Errorf("%d of 200 requests met it in %v, want 1 to %d", n, time.Since(began), most)
			}
		})
	}
}

func TestAnInstanceIsAvoidedForAsLongAsItAsks(t *testing.T) {
	const seconds = 3
	for name, header := range map[string]func(http.Header){
		"seconds": func(h http.Header) { h.Set("Retry-After", fmt.Sprint(seconds)) },
		"a date, by its own clock": func(h http.Header) {
			now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			h.Set("Date", now.Format(http.TimeFormat))
			h.Set("Retry-After", now.Add(seconds*time.Second).Format(http.TimeFormat))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, atA, _ := pair(t, nil, func(w http.ResponseWriter, r *http.Request) {
				header(w.Header())
				status(503)(w, r)
			})
			var met time.Time
			eventually(t, "a is met again", func() bool {
				if _, _, err := s.get(); err != nil {
					t.Fatal(err)
				}
				if met.IsZero() && atA.Load() == 1 {
					met = time.Now()
				}
				return atA.Load() > 1
			})
			if took := time.Since(met); took < (seconds-1)*time.Second {
				t.Errorf("it was asked again after %v, want %d s", took, seconds)
			}
		})
	}
}

func TestAServiceThatAnswers503EverywhereIsAskedAllTheSame(t *testing.T) {
	s := newSite(t, &httptransport.Options{Attempts: 1})
	var hits [4]atomic.Int32
	for n := range hits {
		s.serve(fmt.Sprint(n), func(w http.ResponseWriter, r *http.Request) {
			hits[n].Add(1)
			status(503)(w, r)
		})
	}
	s.until("0 1 2 3")
	const rounds = 400
	for range rounds {
		if code, _, err := s.get(); code != 503 {
			t.Fatalf("got %d, %v, want the service's own answer", code, err)
		}
	}
	asked := 0
	for n := range hits {
		if hits[n].Load() > rounds/8 {
			asked++
		}
	}
	if asked < len(hits)/2 {
		t.Errorf("%d of %d instances are asked, want half at least", asked, len(hits))
	}
}

func TestARequestSaysAtOnceThatTheEtcdClientWasClosed(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	s := siteAt(t, cli, prefix, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	srv := s.serve("a", func(w http.ResponseWriter, _ *http.Request) {
		once()
		<-goOn
		fmt.Fprint(w, "a")
	})
	s.until("a")
	underWay := make(chan error, 1)
	go func() {
		_, _, err := s.get()
		underWay <- err
	}()
	<-begun
	if err := cli.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, host := range []string{"web", "other"} {
		req := request(t, "GET", nil)
		req.URL.Host = host
		_, _, err := s.ask(req)
		if !errors.Is(err, httptransport.ErrClosed) || !strings.Contains(fmt.Sprint(err), "the etcd client was closed") {
			t.Errorf("%s: got %v, want ErrClosed, and why", host, err)
		}
	}
	if v, err := s.View(bounded(t), "web"); v != nil || !errors.Is(err, httptransport.ErrClosed) {
		t.Errorf("a view: %v, %v, want ErrClosed", v, err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v, want it said at once", took)
	}
	close(goOn)
	if err := <-underWay; err != nil {
		t.Errorf("a request under way: %v", err)
	}
	_ = srv
}

// A list that is not there yet is not waited for when the client is closed.
func TestARequestThatWaitsForItsListEndsWithTheEtcdClient(t *testing.T) {
	_, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, "")
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	s := siteAt(t, cli, prefix, nil)
	waits := make(chan error, 1)
	go func() {
		_, _, err := s.get()
		waits <- err
	}()
	<-time.After(100 * time.Millisecond) // it is most likely waiting then
	began := time.Now()
	if err := cli.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, httptransport.ErrClosed) || time.Since(began) > 2*time.Second {
		t.Errorf("got %v after %v, want ErrClosed at once", err, time.Since(began))
	}
}

// text is a log.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTheLogSaysWhichInstanceIsAvoidedAndWhenAllFail(t *testing.T) {
	var log text
	s := newSite(t, &httptransport.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	down := atomic.Bool{}
	down.Store(true)
	for _, id := range []string{"a", "b"} {
		s.serve(id, func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				hangUp(w, r)
			}
			fmt.Fprint(w, id)
		})
	}
	s.until("a b")
	for range 5 {
		if _, _, err := s.get(); err == nil {
			t.Error("void: an instance that is down answered")
		}
	}
	for want, n := range map[string]int{"the instance is avoided": 2, "all instances fail": 1, "used again": 0} {
		if got := strings.Count(log.String(), want); got != n {
			t.Errorf("%q stands there %d times, want %d:\n%s", want, got, n, log.String())
		}
	}
	down.Store(false)
	eventually(t, "both are used again", func() bool {
		if _, _, err := s.get(); err != nil {
			t.Fatal(err)
		}
		return strings.Count(log.String(), "the instance is used again") == 2
	})
	if got := strings.Count(log.String(), "an instance of the service works again"); got != 1 {
		t.Errorf("that there is one again stands there %d times, want 1:\n%s", got, log.String())
	}
}

// All have been killed, and are kept for a while: that connections are refused is not what is wrong.
func TestWhenExpiredInstancesAreDeadRequestsSayThatNoneIsRegistered(t *testing.T) {
	s := newSite(t, nil)
	instances := []*instance{s.start(t, "a", ttl), s.start(t, "b", ttl)}
	s.until("a b")
	for _, i := range instances {
		i.signal(os.Kill)
	}
	v := s.view()
	eventually(t, "both are kept", func() bool { return v.State().Expired == 2 })
	_, _, err := s.get()
	t.Log(err)
	if !errors.Is(err, discovery.ErrNone) || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), `no instance of "web" is registered any more`) {
		t.Errorf("got %v, want that no instance is registered any more", err)
	}
}

func TestAnEmptyListIsSaidToBeFresh(t *testing.T) {
	s := newSite(t, nil)
	_, _, err := s.get()
	if !errors.Is(err, discovery.ErrNone) || !strings.Contains(err.Error(), `no instance of "web" is registered, as etcd confirms`) {
		t.Errorf("got %v, want ErrNone, and that it is fresh", err)
	}
}

// What others have written is not let loose on a terminal.
func TestWhatOthersWriteIsQuotedInErrors(t *testing.T) {
	const id = "a\u202eb"
	says := errors.New("\x1b[2J" + strings.Repeat("x", 3000))
	s := newSite(t, &httptransport.Options{Base: refuses{says}})
	s.dead(id)
	s.until(id)
	_, _, err := s.get()
	if !errors.Is(err, says) || strings.ContainsAny(err.Error(), "\x1b\u202e") || len(err.Error()) > 2500 {
		t.Errorf("got %d bytes: %q", len(fmt.Sprint(err)), err)
	}
}

// refuses is a RoundTripper that fails.
type refuses struct{ err error }

func (f refuses) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

package httptransport_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

func TestPatienceMovesOnWhereItIsSafe(t *testing.T) {
	const timeout = time.Second // b answers within that
	goOn := make(chan struct{})
	s, atA, _ := pair(t, &httptransport.Options{AnswerTimeout: timeout}, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "a")
	})
	for range 4 {
		if _, body, err := s.get(); body != "b:  <nil>" {
			t.Errorf("got %q, %v, want b's answer", body, err)
		}
	}
	if n := s.view().Stats().Failures; n == 0 || atA.Load() == 0 {
		t.Errorf("%d requests met a, and %d failures were reported", atA.Load(), n)
	}
	var all sync.WaitGroup
	tried := atA.Load()
	for atA.Load() == tried {
		all.Go(func() {
			if code, _, err := s.ask(request(t, "POST", nil)); code != 200 {
				t.Errorf("a POST was given up: %v", err)
			}
		})
		<-time.After(timeout / 20)
	}
	if _, err := s.cli.Delete(bounded(t), s.prefix+"web/b"); err != nil {
		t.Fatal(err)
	}
	s.until("a")
	tried = atA.Load()
	all.Go(func() {
		if code, _, err := s.get(); code != 200 {
			t.Errorf("a GET without another instance was given up: %v", err)
		}
	})
	eventually(t, "it has arrived", func() bool { return atA.Load() > tried })
	<-time.After(2 * timeout)
	close(goOn)
	all.Wait()
}

func TestPatienceGivesUpNothingThatCouldNotBeSentAgain(t *testing.T) {
	const timeout = 50 * time.Millisecond
	s, atA, _ := pair(t, &httptransport.Options{AnswerTimeout: timeout}, func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(4 * timeout)
		fmt.Fprint(w, "a")
	})
	for atA.Load() == 0 {
		req := request(t, "PUT", strings.NewReader("text"))
		req.GetBody = nil
		if code, _, err := s.ask(req); code != 200 {
			t.Errorf("a PUT whose body can be had once was given up: %v", err)
		}
	}
}

// trickle is a body that comes in pieces, one in a while.
type trickle struct {
	pieces int
	pause  time.Duration
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.pieces == 0 {
		return 0, io.EOF
	}
	b.pieces--
	<-time.After(b.pause)
	return copy(p, "x"), nil
}

func TestPatienceDoesNotRunOutWhileABodyIsSent(t *testing.T) {
	const timeout = 3 * time.Second
	s, atA, _ := pair(t, &httptransport.Options{AnswerTimeout: timeout}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "a")
	})
	for atA.Load() == 0 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				body := func() (io.ReadCloser, error) { return io.NopCloser(&trickle{8, timeout / 6}), nil }
				req := request(t, "PUT", nil)
				req.Body, _ = body()
				req.GetBody = body
				if code, _, err := s.ask(req); code != 200 {
					t.Errorf("got %d, %v", code, err)
				}
			})
		}
		all.Wait()
	}
	if n := s.Stats().Retries; n != 0 {
		t.Errorf("%d requests were sent again while their bodies were on their way", n)
	}
}

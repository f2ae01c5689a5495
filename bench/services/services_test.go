package services

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) {
	if err := tame(); err != nil {
		panic(err)
	}
	os.Exit(etcdtest.Main(m).Run())
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestEachLibraryRegistersAndItsConsumerSees(t *testing.T) {
	libraries := append(all(), &raw{}, &raw{grant: true}, &etcdkit{}, &resolving{}, &grpcresolving{})
	cli, _ := etcdtest.New(t)
	for i, l := range libraries {
		t.Run(l.name(), func(t *testing.T) {
			ctx := bounded(t)
			service := "smoke" + string(rune('a'+i))
			w, err := l.writer(ctx, cli.Endpoints(), defaultTTL)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			c, err := l.follow(ctx, cli.Endpoints(), service)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			leave, err := w.register(ctx, service, address(1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := await(ctx, c, listing(address(1))); err != nil {
				t.Fatalf("it was never listed: %v; the list is %q", err, c.addrs())
			}
			// What another writes in the library's own format is the same to it.
			key, value := l.record(service, address(2), address(2))
			if _, err := cli.Put(ctx, key, value); err != nil {
				t.Fatal(err)
			}
			if _, err := await(ctx, c, counting(2)); err != nil {
				t.Fatalf("%s = %s was never listed: %v; the list is %q", key, value, err, c.addrs())
			}
			if err := leave(); err != nil {
				t.Fatal(err)
			}
			soon, cancel := context.WithTimeout(ctx, defaultTTL/2) // withdrawn, not expired
			defer cancel()
			if _, err := await(soon, c, missing(address(1))); err != nil {
				t.Fatalf("it is listed still: %v; the list is %q", err, c.addrs())
			}
		})
	}
}

func TestWhatALibraryPanicsWithIsAnError(t *testing.T) {
	if err := guard(func() error { panic("nil map") }); err == nil || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("got %v, want an error that quotes the panic", err)
	}
	want := errors.New("its own")
	if err := guard(func() error { return want }); err != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

// script is a consumer whose list changes as it is told.
type script struct {
	lists chan []string
	list  []string
}

func (s *script) next(ctx context.Context) error {
	select {
	case s.list = <-s.lists:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (s *script) addrs() []string { return s.list }
func (s *script) close() error    { return nil }

func TestAMonitorKnowsSinceWhenTheListIsRight(t *testing.T) {
	s := &script{lists: make(chan []string), list: []string{"a", "b"}}
	v := startMonitor(t.Context(), s, []string{"b", "a"}, nil)
	tell := func(list ...string) { // twice: when the second is taken, the first was seen
		s.lists <- list
		s.lists <- list
	}
	tell("a")
	before := time.Now()
	tell("b", "a")
	if got := v.end(); !got.right || got.since.Before(before) || got.listed != 2 {
		t.Errorf("wrong, then right: got %+v, want right since after %v", got, before)
	}

	s = &script{lists: make(chan []string)}
	v = startMonitor(t.Context(), s, []string{"a", "b", "c"}, nil)
	tell("a", "b", "c")
	tell("a", "x")
	if got := v.end(); got.right || got.listed != 1 {
		t.Errorf("right, then wrong: got %+v, want wrong, with one of the wanted", got)
	}

	s = &script{lists: make(chan []string), list: []string{"a"}}
	v = startMonitor(t.Context(), s, []string{"a"}, func(context.Context) bool { return false })
	tell("a")
	if got := v.end(); got.right {
		t.Errorf("etcd has it not: got %+v, want wrong", got)
	}
}

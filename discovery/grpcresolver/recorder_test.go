package grpcresolver_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
)

func target(t testing.TB, s string) resolver.Target {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

// recorder is a connection that keeps what it is told.
type recorder struct {
	resolver.ClientConn

	mu     sync.Mutex
	told   chan struct{} // closed when there is more
	states []resolver.State
	errs   []error
}

func newRecorder() *recorder { return &recorder{told: make(chan struct{})} }

func (r *recorder) note(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	close(r.told)
	r.told = make(chan struct{})
}

func (r *recorder) UpdateState(s resolver.State) error {
	r.note(func() { r.states = append(r.states, s) })
	return nil
}
func (r *recorder) ReportError(err error) { r.note(func() { r.errs = append(r.errs, err) }) }
func (r *recorder) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{}
}

// list is the last state as text.
func (r *recorder) list() string {
	if len(r.states) == 0 {
		return "none"
	}
	var s []string
	for _, e := range r.states[len(r.states)-1].Endpoints {
		i, _ := grpcresolver.EndpointOf(e.Attributes)
		s = append(s, fmt.Sprintf("%s/%d/%s/%s", i.ID, i.Weight, i.Zone, i.Status))
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// until waits until the recorder is as wanted.
func (r *recorder) until(t testing.TB, what string, good func() bool) {
	t.Helper()
	ctx := bounded(t)
	for {
		r.mu.Lock()
		ok, told, list, errs := good(), r.told, r.list(), r.errs
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-told:
		case <-ctx.Done():
			t.Fatalf("got %q, errors %v; want %s", list, errs, what)
		}
	}
}

func (r *recorder) untilList(t testing.TB, want string) {
	t.Helper()
	r.until(t, want, func() bool { return r.list() == want })
}

func build(t testing.TB, b *grpcresolver.Builder, cc resolver.ClientConn) resolver.Resolver {
	t.Helper()
	r, err := b.Build(target(t, "etcdkit:///web"), cc, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

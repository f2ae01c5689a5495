package health_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/health"
)

func Example() {
	var ready atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ready.Load() {
			http.Error(w, "warming up", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := health.Open(ctx, server.Listener.Addr().String(), health.HTTP("/healthz"), health.TCP(""))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	show := func() {
		for _, r := range m.Results() {
			fmt.Printf("%s: %s (%s)\n", r.Name, r.Status, r.Output)
		}
		fmt.Println("worst:", health.Worst(m.Results()).Status)
	}
	changed := m.Changed()
	show()
	ready.Store(true)
	<-changed
	show()
	// Output:
	// http /healthz: critical (503 Service Unavailable: warming up)
	// tcp: passing (connected)
	// worst: critical
	// http /healthz: passing (200 OK)
	// tcp: passing (connected)
	// worst: passing
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
)

// stock is an HTTP service: it knows how much is left.
func stock(ctx context.Context, cli *clientv3.Client) error {
	const full = 5000
	var sold atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stock/{item}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, full-sold.Add(1)%full) // each request sells one; each instance has shelves of its own
	})
	return web(ctx, cli, "stock", mux)
}

// web is an HTTP service with a health check.
func web(ctx context.Context, cli *clientv3.Client, service string, mux *http.ServeMux) error {
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: requestTimeout}
	s := &server{serve: srv.Serve, check: health.HTTP("/healthz"), drain: srv.Shutdown}
	return s.run(ctx, cli, service)
}

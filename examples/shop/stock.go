package main

import (
	"context"
	"fmt"
	"net/http"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
)

// stock is an HTTP service: it knows how much is left.
func stock(ctx context.Context, cli *clientv3.Client) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stock/{item}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, 10*len(r.PathValue("item")))
	})
	return web(ctx, cli, "stock", mux)
}

// web is an HTTP service with a health check.
func web(ctx context.Context, cli *clientv3.Client, service string, mux *http.ServeMux) error {
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: bounded}
	s := &server{serve: srv.Serve, check: health.HTTP("/healthz"), drain: srv.Shutdown}
	return s.run(ctx, cli, service)
}

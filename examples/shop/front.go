package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

// serviceConfig chooses instances by what etcd says, and repeats the calls that a killed instance had under way.
const serviceConfig = `{"loadBalancingConfig": [{"etcdkit": {}}], "methodConfig": [{"name": [{}], "retryPolicy":
	{"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// front is the HTTP service that customers use. It finds the other two by their names.
func front(ctx context.Context, cli *clientv3.Client) error {
	conn, err := grpc.NewClient("etcdkit:///catalog", grpc.WithResolvers(grpcresolver.New(cli, nil)),
		grpc.WithDefaultServiceConfig(serviceConfig), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	transport := httptransport.New(cli, nil)
	defer transport.Close()
	f := &shelves{conn, &http.Client{Transport: transport}}
	mux := http.NewServeMux()
	mux.Handle("GET /items/{item}", f)
	return web(ctx, cli, "front", mux)
}

type shelves struct {
	catalog *grpc.ClientConn
	stock   *http.Client
}

func (s *shelves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	item, price, from := r.PathValue("item"), new(wrapperspb.StringValue), new(peer.Peer)
	if err := s.catalog.Invoke(ctx, priceMethod, wrapperspb.String(item), price, grpc.Peer(from)); err != nil {
		http.Error(w, err.Error(), map[bool]int{true: http.StatusNotFound, false: http.StatusBadGateway}[status.Code(err) == codes.NotFound])
		return
	}
	left, err := s.left(ctx, item)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_, port, _ := net.SplitHostPort(from.Addr.String()) // all are on one host here
	fmt.Fprintf(w, "%s %s, %s left, catalog :%s\n", item, price.Value, left, port)
}

func (s *shelves) left(ctx context.Context, item string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://stock/stock/"+item, nil)
	if err != nil {
		return "", err
	}
	resp, err := s.stock.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	n, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("stock: %s: %s", resp.Status, n)
	}
	return string(n), err
}

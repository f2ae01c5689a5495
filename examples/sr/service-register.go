// Service-register announces a service in etcd for as long as this process lives.
// Try it: go run ./examples/sr (and in a second terminal: go run ./examples/sd)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ServiceRegister is a service's entry in etcd. It hangs on a lease, which ends it if the process dies.
type ServiceRegister struct {
	cli           *clientv3.Client
	leaseID       clientv3.LeaseID
	keepAliveChan <-chan *clientv3.LeaseKeepAliveResponse // an answer to each renewal; closed when the lease is over
}

// NewServiceRegister puts key with val on a lease of so many seconds and keeps the lease alive.
func NewServiceRegister(endpoints []string, key, val string, lease int64) (*ServiceRegister, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	granted, err := cli.Grant(ctx, lease)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	s := &ServiceRegister{cli: cli, leaseID: granted.ID}
	if _, err := cli.Put(ctx, key, val, clientv3.WithLease(s.leaseID)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.keepAliveChan, err = cli.KeepAlive(cli.Ctx(), s.leaseID) // renews every TTL/3, until cli closes
	return s, err
}

// Close withdraws the service at once: with the lease goes the key.
func (s *ServiceRegister) Close() error {
	defer s.cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := s.cli.Revoke(ctx, s.leaseID)
	return err
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sr: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	key, val := flag.String("key", "/web/node1", "name of the service"), flag.String("val", "value-2379", "its address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	service, err := NewServiceRegister(strings.Split(*endpoints, ","), *key, *val, 5)
	if err != nil {
		log.Fatalf("register %s: %v", *key, err)
	}
	fmt.Printf("registered %s = %s, lease %x\n", *key, *val, service.leaseID)
	withdrawn := make(chan error, 1)
	context.AfterFunc(ctx, func() { withdrawn <- service.Close() })
	for range service.keepAliveChan { // ends with the lease: on our Close, or when it is lost
	}
	if ctx.Err() == nil {
		log.Fatalf("%s is gone: its lease was lost, as etcd did not answer in time or somebody revoked it", *key)
	} else if err := <-withdrawn; err != nil {
		log.Fatalf("withdraw %s: %v", *key, err)
	}
	fmt.Println("withdrawn", *key)
}

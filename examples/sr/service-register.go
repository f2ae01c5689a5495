// Service-register announces a service in etcd for as long as this process lives.
// Try it: go run ./examples/sr (and in a second terminal: go run ./examples/sd)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ServiceRegister is a service's entry in etcd. It hangs on a lease, which ends it if the process dies. Whenever
// it is lost while the process lives, it comes back by itself, and the log tells.
type ServiceRegister struct {
	cli *clientv3.Client
	*registry.Registration
}

// NewServiceRegister puts key on a lease of so many seconds. With val host:port others learn host and pid of
// the owner, too; any other text is stored as it is.
func NewServiceRegister(endpoints []string, key, val string, lease int64) (*ServiceRegister, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	dir, id := path.Split(key) // "/web/node1": where services are, the service, and its instance
	prefix, name := path.Split(strings.TrimSuffix(dir, "/"))
	if prefix == "" {
		return nil, fmt.Errorf("key %q: want one like /web/node1", key)
	}
	instance := registry.Instance{Service: name, ID: id, Addr: val}
	if !strings.Contains(val, ":") {
		instance.Raw = val
	}
	if err := instance.Validate(); err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	opts := &registry.Options{Prefix: prefix, TTL: time.Duration(lease) * time.Second, Logger: slog.Default()}
	reg, err := registry.Register(ctx, cli, instance, opts)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	return &ServiceRegister{cli, reg}, nil
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sr: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	key, val := flag.String("key", "/web/node1", "name of the service"), flag.String("val", "localhost:2379", "its address, or any text")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	service, err := NewServiceRegister(strings.Split(*endpoints, ","), *key, *val, 5)
	if err != nil {
		log.Fatal(err)
	}
	defer service.cli.Close()
	fmt.Printf("registered %s = %s, lease %016x\n", *key, *val, service.State().Lease)
	<-ctx.Done()
	if err := service.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("withdrawn", *key)
}

// Service-register registers a service in etcd for as long as this process lives.
//
// Try it: go run ./examples/sr (and in a second terminal: go run ./examples/sd)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ServiceRegister is a service in etcd. Its key is bound to a lease, so it is deleted when the process dies.
// While the process lives, a key that was lost is registered again, and the log says so.
type ServiceRegister struct {
	cli *clientv3.Client       // etcd client
	reg *registry.Registration // keeps the lease alive and the key in etcd
	key string                 // service key
	val string                 // service value
}

// NewServiceRegister registers key with the value val, on a lease of so many seconds.
func NewServiceRegister(endpoints []string, key, val string, lease int64) (*ServiceRegister, error) {
	ser := &ServiceRegister{key: key, val: val}
	if _, _, err := ser.instance(); err != nil {
		return nil, err
	}
	cli, err := client.Dial(context.Background(), &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	ser.cli = cli
	if err := ser.putKeyWithLease(lease); err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	return ser, nil
}

// putKeyWithLease grants the lease, puts the key and keeps both: it renews the lease every TTL/3, and when
// the lease or the key is lost it registers again, on a new lease.
func (s *ServiceRegister) putKeyWithLease(lease int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	instance, prefix, err := s.instance()
	if err != nil {
		return err
	}
	s.reg, err = registry.Register(ctx, s.cli, instance, &registry.Options{
		Prefix: prefix,
		TTL:    time.Duration(lease) * time.Second,
		Logger: slog.Default(),
	})
	return err
}

// instance is what key and val say: "/web/node1" is the instance node1 of the service web below "/". If val is
// host:port, etcd stores an address that gRPC's resolvers read, too, with the host and pid of its owner. Any
// other text is stored as it is.
func (s *ServiceRegister) instance() (i registry.Instance, prefix string, err error) {
	dir, id := path.Split(s.key)
	prefix, service := path.Split(strings.TrimSuffix(dir, "/"))
	if prefix == "" {
		return i, "", fmt.Errorf("key %q: want one like /web/node1", s.key)
	}
	i = registry.Instance{Service: service, ID: id, Raw: s.val}
	if _, port, err := net.SplitHostPort(s.val); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			i.Raw, i.Addr = "", s.val
		}
	}
	if err := i.Validate(); err != nil {
		return i, "", fmt.Errorf("key %q: %w", s.key, err)
	}
	return i, prefix, nil
}

// LeaseID is the present lease: another one after the service was registered again.
func (s *ServiceRegister) LeaseID() clientv3.LeaseID { return s.reg.State().Lease }

// Close deletes the key and revokes the lease.
func (s *ServiceRegister) Close() error { return errors.Join(s.reg.Close(), s.cli.Close()) }

func main() {
	log.SetFlags(0)
	log.SetPrefix("sr: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	key := flag.String("key", "/web/node1", "service key")
	val := flag.String("val", "value-2379", "service value: host:port, or any text")
	flag.Parse()
	ser, err := NewServiceRegister(strings.Split(*endpoints, ","), *key, *val, 5)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fmt.Printf("Put key:%s   val:%s   success!\n", *key, *val)
	fmt.Printf("lease %x\n", ser.LeaseID())
	<-ctx.Done()
	if err := ser.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("deleted", *key)
}

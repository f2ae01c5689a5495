// Service-discovery follows the services in etcd and prints their list, every 10 s and on each change.
//
// Try it: go run ./examples/sd (and in a second terminal: go run ./examples/sr)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ServiceDiscovery is a list of services that follows etcd without a gap, and says when it is out of date.
type ServiceDiscovery struct {
	cli        *clientv3.Client // etcd client
	err        error            // why there is no client
	prefix     string
	serverList *discovery.View // nil before WatchService
}

// NewServiceDiscovery connects to etcd. If that fails, WatchService returns the error.
func NewServiceDiscovery(endpoints []string) *ServiceDiscovery {
	cli, err := client.Dial(context.Background(), &client.Options{Endpoints: endpoints})
	return &ServiceDiscovery{cli: cli, err: err}
}

// WatchService reads the services under prefix, and returns. The list follows etcd from then on.
func (s *ServiceDiscovery) WatchService(prefix string) error {
	if s.err != nil {
		return s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	above, service := path.Split(strings.TrimSuffix(prefix, "/")) // "/web/": the service web below "/"
	view, err := discovery.Open(ctx, s.cli, service, &discovery.Options{Prefix: above})
	if err != nil {
		return err
	}
	s.prefix, s.serverList = strings.TrimSuffix(prefix, "/")+"/", view
	return nil
}

// GetServices returns the services as key=value, sorted by key.
func (s *ServiceDiscovery) GetServices() []string {
	list := []string{}
	for _, i := range s.serverList.Instances() {
		list = append(list, s.prefix+i.ID+"="+i.Addr+i.Raw) // it has an address or a raw value
	}
	return list
}

// Close stops following etcd.
func (s *ServiceDiscovery) Close() error {
	var errs []error
	if s.serverList != nil {
		errs = append(errs, s.serverList.Close())
	}
	if s.cli != nil {
		errs = append(errs, s.cli.Close())
	}
	return errors.Join(errs...)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sd: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	every := flag.Duration("every", 10*time.Second, "print the list this often (at least 1s), and on each change")
	prefix := flag.String("prefix", "/web/", "where the services are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ser := NewServiceDiscovery(strings.Split(*endpoints, ","))
	defer ser.Close()
	if err := ser.WatchService(*prefix); err != nil {
		log.Fatal(err)
	}
	tick := time.NewTicker(max(*every, time.Second))
	defer tick.Stop()
	for ctx.Err() == nil {
		changed, turned := ser.serverList.Changed(), ser.serverList.FreshnessChanged()
		fmt.Println("services:", ser.GetServices())
		if state := ser.serverList.State(); !state.Fresh { // etcd is away: the list is the last complete one
			log.Printf("stale, complete as of %s: %v", state.Confirmed.Format(time.TimeOnly), state.Cause)
		}
		select {
		case <-tick.C:
		case <-changed:
		case <-turned: // out of date, or fresh again
		case <-ctx.Done():
		}
	}
}

// Service-discovery follows the services in etcd and prints their list on each change.
// Try it: go run ./examples/sd (and in a second terminal: go run ./examples/sr)
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ServiceDiscovery is a list of services that follows etcd. To share it between goroutines, add a mutex.
type ServiceDiscovery struct {
	cli        *clientv3.Client
	every      time.Duration     // between two readings of the whole list
	serverList map[string]string // "key=value" by key
}

// GetServices returns the services known now, sorted.
func (s *ServiceDiscovery) GetServices() []string { return slices.Sorted(maps.Values(s.serverList)) }

// WatchService reads the services under prefix, then follows their changes for s.every; it prints each list.
func (s *ServiceDiscovery) WatchService(prefix string) error {
	ctx, cancel := context.WithTimeout(s.cli.Ctx(), s.every)
	defer cancel()
	now, err := s.cli.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read the services: %w", err)
	}
	s.serverList = map[string]string{}
	for _, kv := range now.Kvs {
		s.serverList[string(kv.Key)] = fmt.Sprintf("%s=%s", kv.Key, kv.Value)
	}
	fmt.Println("services:", s.GetServices())

	// Watch from the revision after the one just read: nothing falls between the two, nothing comes twice.
	// Should the watch end early (etcd has compacted what it still had to tell), the next round reads afresh.
	for resp := range s.cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(now.Header.Revision+1)) {
		for _, ev := range resp.Events {
			s.serverList[string(ev.Kv.Key)] = fmt.Sprintf("%s=%s", ev.Kv.Key, ev.Kv.Value)
			if ev.Type == clientv3.EventTypeDelete {
				delete(s.serverList, string(ev.Kv.Key))
			}
		}
		fmt.Println("services:", s.GetServices())
	}
	return nil
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sd: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	every := flag.Duration("every", 10*time.Second, "read and print the whole list this often, too (at least 1s)")
	prefix := flag.String("prefix", "/web/", "where the services are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: strings.Split(*endpoints, ",")})
	if err != nil {
		log.Fatal(err)
	}
	context.AfterFunc(ctx, func() { cli.Close() })
	s := &ServiceDiscovery{cli: cli, every: max(*every, time.Second)}
	for ctx.Err() == nil {
		if err := s.WatchService(*prefix); err != nil && ctx.Err() == nil {
			log.Fatal(err)
		}
	}
}

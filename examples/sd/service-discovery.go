// Service-discovery follows the services in etcd and prints their list on each change.
// Try it: go run ./examples/sd (and in a second terminal: go run ./examples/sr)
package main

import (
	"context"
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
)

// ServiceDiscovery is a list of services that follows etcd: without a gap, and never silently stale.
type ServiceDiscovery struct{ *discovery.View }

// GetServices returns the services known now, sorted.
func (s *ServiceDiscovery) GetServices(prefix string) []string {
	list := []string{}
	for _, i := range s.Instances() {
		list = append(list, prefix+i.ID+"="+i.Addr+i.Raw) // it has one of the two
	}
	return list
}

// WatchService prints the services under prefix on each change, and every so often, until ctx is done.
func (s *ServiceDiscovery) WatchService(ctx context.Context, prefix string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		changed, turned := s.Changed(), s.Turned()
		fmt.Println("services:", s.GetServices(prefix))
		if state := s.State(); !state.Fresh { // while etcd is away the last good list stays
			log.Printf("stale, complete as of %s: %v", state.Confirmed.Format(time.TimeOnly), state.Cause)
		}
		select {
		case <-changed:
		case <-turned: // stale, or fresh again
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sd: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	every := flag.Duration("every", 10*time.Second, "print the list this often, too (at least 1s)")
	prefix := flag.String("prefix", "/web/", "where the services are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: strings.Split(*endpoints, ",")})
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	above, name := path.Split(strings.TrimSuffix(*prefix, "/"))
	view, err := discovery.Open(ctx, cli, name, &discovery.Options{Prefix: above})
	if err != nil {
		log.Fatal(err)
	}
	defer view.Close()
	(&ServiceDiscovery{view}).WatchService(ctx, *prefix, max(*every, time.Second))
}

// Config keeps a program's settings up to date while it runs: whatever is put below a prefix in etcd takes
// effect at once. A value that is not valid is refused, and the last good settings stay.
//
// Try it: go run ./examples/config (and in a second terminal: etcdkit put config/web/timeout 2s)
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/mirror"
)

// Settings of the program. A request reads them once, with settings.Load, and uses them to its end.
type Settings struct {
	Timeout time.Duration
	Retries int
}

// parse makes settings of what is below the prefix. A key that is absent means the default.
func parse(s *mirror.Snapshot, prefix string) (*Settings, error) {
	set := &Settings{Timeout: time.Second, Retries: 3}
	for kv := range s.All() {
		var err error
		switch strings.TrimPrefix(kv.Key, prefix) {
		case "timeout":
			if set.Timeout, err = time.ParseDuration(kv.Value); err == nil && set.Timeout <= 0 {
				err = fmt.Errorf("%v is not more than 0s", set.Timeout)
			}
		case "retries":
			if set.Retries, err = strconv.Atoi(kv.Value); err == nil && set.Retries < 0 {
				err = fmt.Errorf("%d is below 0", set.Retries)
			}
		default:
			err = fmt.Errorf("there is no such setting")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	return set, nil
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("config: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	prefix := flag.String("prefix", "config/web/", "where the settings are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var settings atomic.Pointer[Settings]
	if err := follow(ctx, strings.Split(*endpoints, ","), *prefix, &settings); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// follow stores the settings, and stores them again at each change, until ctx ends.
func follow(ctx context.Context, endpoints []string, prefix string, settings *atomic.Pointer[Settings]) error {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer cli.Close()
	m, err := mirror.Open(ctx, cli, prefix, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	go func() { // ends with ctx: says when the settings may be out of date, as etcd is away
		for ctx.Err() == nil {
			turned := m.FreshnessChanged()
			if state := m.State(); !state.Fresh {
				log.Printf("stale, complete as of %s: %v", state.Since.Format(time.TimeOnly), state.Cause)
			}
			select {
			case <-turned:
			case <-ctx.Done():
			}
		}
	}()

	first := m.Snapshot()
	if err := apply(settings, first, prefix); err != nil {
		return err // a program should not start with settings that it does not understand
	}
	for batch, err := range m.Changes(ctx, &mirror.ChangesOptions{From: first}) {
		if err != nil {
			return err
		}
		// Keys that one transaction changes arrive together, so settings that belong together do, too.
		if err := apply(settings, batch.Snapshot, prefix); err != nil {
			log.Printf("refused, keeping %+v: %v", *settings.Load(), err)
		}
	}
	return nil
}

func apply(settings *atomic.Pointer[Settings], s *mirror.Snapshot, prefix string) error {
	set, err := parse(s, prefix)
	if err != nil {
		return err
	}
	settings.Store(set)
	fmt.Printf("%+v (revision %d)\n", *set, s.Revision())
	return nil
}

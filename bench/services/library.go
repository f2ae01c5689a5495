package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// root is what all keys of this job begin with; it is etcdkit's default, and free for the others.
const root = "/services/"

// library is a way to register instances and to follow them.
type library interface {
	name() string
	// record is the key and the value by which instance id, at addr, stands in etcd.
	record(service, id, addr string) (key, value string)
	// writer is warm when it is returned: connected, and whatever it shares is there.
	writer(ctx context.Context, endpoints []string, ttl time.Duration) (writer, error)
	// follow returns when the first list is there, or is about to be. ctx bounds the call only.
	follow(ctx context.Context, endpoints []string, service string) (consumer, error)
}

// writer is a process that registers instances.
type writer interface {
	// register registers an instance whose id is its addr. leave withdraws it; the writer's close
	// need not.
	register(ctx context.Context, service, addr string) (leave func() error, err error)
	close() error
}

// consumer is a process that follows a service. One goroutine uses it.
type consumer interface {
	// next waits for a change. errEnded says that there will be no other.
	next(ctx context.Context) error
	addrs() []string // in any order
	close() error
}

// errEnded: the consumer is frozen.
var errEnded = errors.New("its watch ended, and nothing starts it again")

// all are the libraries, but the floor, in the order of the tables.
func all() []library {
	return []library{&etcdkit{shared: true}, &gozero{}, &gokit{}, &naming{}}
}

// await follows until the list is as wanted, and returns when that was.
func await(ctx context.Context, c consumer, wanted func([]string) bool) (time.Time, error) {
	for !wanted(c.addrs()) {
		if err := c.next(ctx); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

func listing(addr string) func([]string) bool {
	return func(list []string) bool { return slices.Contains(list, addr) }
}

func missing(addr string) func([]string) bool {
	return func(list []string) bool { return !slices.Contains(list, addr) }
}

func counting(n int) func([]string) bool {
	return func(list []string) bool { return len(list) == n }
}

// guard makes an error of a library's panic.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	return do()
}

// address is the i-th one of a made-up network.
func address(i int) string {
	return fmt.Sprintf("10.%d.%d.%d:8080", i>>16&255, i>>8&255, i&255)
}

//go:build long

package registry_test

import (
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestItComesBackAfterALongOutageWithinItsTTL(t *testing.T) {
	t.Parallel()
	outage(t, 10*time.Second)
}

// With the default interval, which tests elsewhere shorten.
func TestASilentWatchIsFoundOutAfterHalfAMinute(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: time.Minute})
	rig.is(deaf)
	backWithin(t, shared, prefix+"web/a", 32*time.Second)
}

func TestAUserWhoIsNotRootPaysLittleMoreForAnyNumber(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	root := etcdtest.EnableAuth(t, c)
	amy := etcdtest.User(t, c, root, "amy", "/services/")
	for _, n := range []int{1, 100, 1000, 10_000} {
		compareUsers(t, root, amy, n)
	}
}

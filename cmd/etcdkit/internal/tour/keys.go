package tour

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	sampleKey     = "sample_keys"
	leaseKey      = "fooForLease"
	servicePrefix = "/web/" // which sd lists
	serviceKey    = servicePrefix + "node1"
)

// keys are those that the examples write. On a user's cluster they must not be the user's.
func keys() []string { return []string{sampleKey, leaseKey, serviceKey} }

// untouched refuses a cluster that has keys where the lessons write.
func untouched(ctx context.Context, cli *clientv3.Client, lessons []*Lesson) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	prefixes := []string{servicePrefix}
	if slices.ContainsFunc(lessons, func(l *Lesson) bool { return l.ID == "shop" }) {
		for _, service := range shopServices() {
			prefixes = append(prefixes, "/services/"+service+"/")
		}
	}
	var looks []clientv3.Op
	for _, k := range keys() {
		looks = append(looks, clientv3.OpGet(k, clientv3.WithKeysOnly()))
	}
	for _, p := range prefixes {
		looks = append(looks, clientv3.OpGet(p, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	}
	for _, look := range looks {
		resp, err := cli.Do(ctx, look)
		if err != nil {
			return fmt.Errorf("look whether %q is free: %w", look.KeyBytes(), err)
		}
		if kvs := resp.Get().Kvs; len(kvs) > 0 {
			return fmt.Errorf("this cluster has a key %q, where the tour's examples write; end the process that keeps it, or delete it (etcdkit ctl del %[1]s), or unset ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS to tour a cluster of its own", kvs[0].Key)
		}
	}
	return nil
}

// tidy removes what the examples left, also after an interrupt.
func tidy(ctx context.Context, cli *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	for _, k := range keys() {
		if _, err := cli.Delete(ctx, k); err != nil {
			return fmt.Errorf("delete %q: %w", k, err)
		}
	}
	return nil
}

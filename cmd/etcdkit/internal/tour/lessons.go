package tour

// Lessons are those of every tour, in their order: three checks of a cluster, six examples, and a failover.
func Lessons() []*Lesson {
	return []*Lesson{
		{
			ID: "status", Title: "cluster: status", walk: walkStatus,
			Shows:   "Every member, which of them leads, and the raft term that they agree on.",
			columns: []string{"ENDPOINT", "VERSION", "IS LEADER", "RAFT TERM"},
		},
		{
			ID: "health", Title: "cluster: health", walk: walkHealth,
			Shows: "Each member commits a proposal of its own.",
		},
		{
			ID: "keys", Title: "cluster: keys", walk: walkKeys,
			Shows: "All keys.",
		},
		{
			ID: "basic", Title: "1 basic", Programs: []string{"basic"}, walk: walkBasic,
			Shows: "Put a key and get it back. The header says which member answered, at which revision.",
		},
		{
			ID: "watch", Title: "2 watch", Programs: []string{"watch"}, walk: walkWatch,
			Shows: "See every change of a key, and learn when compaction removed some.",
		},
		{
			ID: "lease", Title: "3 lease", Programs: []string{"lease"}, walk: walkLease,
			Shows: "A key that ends with its lease, unless a process keeps it alive.",
		},
		{
			ID: "register", Title: "4 service register", Programs: []string{"sr"}, walk: walkRegister,
			Shows: "A service registers itself, comes back by itself when its lease is lost, and leaves when it is interrupted.",
		},
		{
			ID: "discover", Title: "5 service discovery", Programs: []string{"sd", "sr"}, walk: walkDiscovery,
			Shows: "A client sees services come and go. This one is killed with kill -9, so its lease has to expire first.",
		},
		{
			ID: "lock", Title: "6 distributed lock", Programs: []string{"concurrency-by-distributed-lock"}, walk: walkLock,
			Shows: "One process adds, another subtracts, 50 times each. The counter should end at 0.",
		},
		{
			ID: "failover", Title: "7 failover", Programs: []string{"shop"}, walk: walkFailover,
			Shows:  "The leader of etcd is killed while a lock is held and services are called 200 times a second. Nothing fails.",
			Breaks: "Skipped: it kills the leader of etcd, and this cluster is not the tour's own. Unset ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS to see it on a new one.",
		},
	}
}

// Shop is the lesson that takes longest.
func Shop() *Lesson {
	return &Lesson{
		ID: "shop", Title: "8 shop", Programs: []string{"shop"}, walk: walkShop,
		Shows: "Three services, two instances of each, find one another by name. A load generator sends 200 requests a second while instances are killed or leave and a member of etcd fails.",
	}
}

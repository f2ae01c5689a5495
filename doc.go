// Package etcdkit is the front page of a kit for coordination on etcd; it has no code.
//
// Start with the command, in a clone of the repository:
//
//	go run ./cmd/etcdkit tour
//
// The packages, from the bottom up:
//
//	client     Dial: a *clientv3.Client that is proven reachable
//	lease      a lease kept alive that knows its own deadline and says why it ended
//	mirror     a gap-free, ordered local copy of a key prefix
//	health     checks of an instance, and what several results in a row mean
//	registry   the writing side of services: Register, Update, Drain, Leave
//	discovery  the reading side: List, Watch, View; below it grpcresolver and httptransport,
//	           for clients of gRPC and net/http
//	metrics    Prometheus metrics of all of these
//	lock       fair, fenced locks that say when they are lost: Mutex, RWMutex, Semaphore; below it
//	           fence, which refuses late writes to an SQL database or an HTTP service
//	election   one leader among processes: Campaign, Run, Observe
//	keys       the key space as a person sees it: levels, history, copies
//	inventory  what coordinates in a cluster: its leases, and the locks, elections and services on them
//	doctor     the state of a running cluster, and what is wrong with it
//	cluster    local clusters of real etcd processes, and faults to try on them
//	etcdtest   a real etcd for a test, in one line
//
// client adds to clientv3 what it lacks and wraps none of it: clientv3 is the API. The command etcdkit
// (cmd/etcdkit) contains upstream's etcd and etcdctl, too. ARCHITECTURE.md maps the files and draws how
// things flow; docs/adr has the reasons of decisions that are hard to reverse.
//
// Everywhere: an error names what failed, where, and what to do next. A context bounds a call, and never
// the life of what the call returns. A call waits no longer than its context; where the context has no end,
// the documentation says how long it waits. No decision depends on the wall clock.
package etcdkit

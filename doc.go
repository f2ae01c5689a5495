// Package etcdkit is the front page of a kit for coordination on etcd; it has no code.
//
// Start with the command:
//
//	go run github.com/etcdkit/etcdkit/cmd/etcdkit@latest tour
//
// The packages, from the bottom up:
//
//	client     Dial: a *clientv3.Client that is proven reachable
//	lease      a lease kept alive that knows its own deadline and says why it ended
//	mirror     a gap-free, ordered local copy of a key prefix
//	health     whether an instance is well: probes, and what follows from their results
//	registry   the writing side of services: Register, Update, Drain, Close
//	discovery  the reading side: List, Watch, View; below it grpcresolver and httptransport,
//	           for clients of gRPC and net/http
//	metrics    what these know of themselves, for Prometheus
//	lock       locks that are fair, fenced and loss-aware: Mutex, RWMutex, Semaphore; below it
//	           fence, which refuses late writes before an SQL database or an HTTP service
//	election   Campaign, Run, Observe: one leader, and every process knows which
//	cluster    local clusters of real etcd processes, and faults to try on them
//	etcdtest   a real etcd for a test, in one line
//
// client adds to clientv3 what it lacks and wraps none of it: clientv3 is the API. The
// command etcdkit (cmd/etcdkit) holds upstream's etcd and etcdctl too. ARCHITECTURE.md draws
// the layers; docs/adr tells why they are so.
//
// What is promised everywhere: an error names what failed, where and what to do next; a context
// bounds a call and never the life of what the call returns; a call waits no longer than its context,
// and where the context has no end, the documentation says for how long it waits; no decision rests
// on the wall clock.
package etcdkit

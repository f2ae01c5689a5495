package locks

import (
	"context"
	"io"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/bench/suite"
)

const about = `bench locks compares etcdkit's lock with clientv3/concurrency's Mutex and STM, redsync
on three redis-servers and go-zookeeper's Lock on three ZooKeeper nodes, with clientv3's Put as the
floor: in one run, on one cluster of three processes that it starts and ends. Redis and ZooKeeper
are those of Debian's packages redis-server and zookeeper; without them their rows say so. A full
run takes about 20 minutes of a machine that does nothing else.`

// Run carries out the job and returns the exit code: 0, 1 when it failed, 2 for a wrong command
// line, 130 when it was interrupted.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := newPeers()
	s := &suite.Job{
		Name: "locks", About: about, Title: "etcdkit's lock compared with its peers",
		Root: root, Picture: "contended", Rows: rows(p), End: p.close,
		Modules: []string{
			"github.com/etcdkit/etcdkit", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/server/v3",
			"github.com/go-redsync/redsync/v4", "github.com/go-zookeeper/zk", "google.golang.org/grpc",
		},
	}
	return s.Run(ctx, args, stdout, stderr)
}

// rows are all there are, in the order in which they run.
func rows(p *peers) []suite.Row {
	row := func(name, what string, measure func(*job, context.Context) ([]*report.Group, error)) suite.Row {
		return suite.Row{Name: name, What: what, Measure: func(ctx context.Context, b *suite.Bench) ([]*report.Group, error) {
			return measure(&job{Bench: b, site: newSite(b.Lab.Cluster.Endpoints()), peers: p}, ctx)
		}}
	}
	return []suite.Row{
		row("contended", "2, 10 and 50 clients change one counter under one lock", (*job).contended),
		row("uncontended", "a lock that no other client wants", (*job).uncontended),
		row("goroutines", "100 goroutines of one process and one lock", (*job).goroutines),
		row("handover", "from giving the lock back until the next one holds it", (*job).handover),
		row("herd", "requests per operation, and wake-ups per hand-over, with 2 to 50 clients", (*job).herd),
		row("kinds", "the read-write lock and the semaphore compared with the Mutex, with 50 clients", (*job).kinds),
		row("local", "hand-over and re-acquire within one process", (*job).local),
		row("elections", "from one leader's Resign until the next one is elected", (*job).elections),
		row("steady", "20,000 operations without a compaction: do they become slower?", (*job).steady),
	}
}

// job is what a row works with.
type job struct {
	*suite.Bench
	site  *site
	peers *peers
}

package services

import (
	"context"
	"fmt"
	"io"

	"github.com/etcdkit/etcdkit/bench/suite"
)

const about = `bench services compares etcdkit's registry and discovery with go-zero's core/discov,
go-kit's sd/etcdv3 and etcd's naming packages, with clientv3 as the floor: in one run, on one
cluster of three processes that it starts and ends. A full run takes about eight minutes of a
machine that does nothing else.`

// Run carries out the job and returns the exit code: 0, 1 when it failed, 2 for a wrong command
// line, 130 when it was interrupted.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := tame(); err != nil {
		fmt.Fprintf(stderr, "bench services: %v\n", err)
		return 1
	}
	s := &suite.Job{
		Name: "services", About: about, Title: "etcdkit's registry and discovery compared with their peers",
		Root: root, Picture: "visible", Rows: rows(),
		Modules: []string{
			"github.com/etcdkit/etcdkit", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/server/v3",
			"github.com/zeromicro/go-zero", "github.com/go-kit/kit", "google.golang.org/grpc",
		},
	}
	return s.Run(ctx, args, stdout, stderr)
}

// rows are all there are, in the order in which they run.
func rows() []suite.Row {
	return []suite.Row{
		{Name: "visible", What: "from the call that registers until a consumer lists the instance", Measure: of((*job).visible)},
		{Name: "grpc", What: "from a Put until a gRPC connection has the list", Measure: of((*job).grpc)},
		{Name: "batch", What: "1,000 and 10,000 registrations from one process", Measure: of((*job).batch)},
		{Name: "users", What: "1 to 10,000 registrations of a user other than root", Measure: of((*job).users)},
		{Name: "read", What: "reading the list and picking one, at 10 to 100,000 instances", Measure: of((*job).read)},
		{Name: "pick", What: "picking by each policy, while 1,000 of 10,000 instances change a second", Measure: of((*job).pick)},
		{Name: "bytes", What: "what one consumer receives for 200 updates among 1,000 instances", Measure: of((*job).bytes)},
		{Name: "heap", What: "what a consumer of 10,000 instances holds", Measure: of((*job).heap)},
		{Name: "recovery", What: "after a lost lease, an outage of etcd, a compaction while cut off", Measure: of((*job).recovery)},
	}
}

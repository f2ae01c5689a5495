package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// visit is what was learned at one endpoint.
type visit struct {
	endpoint string

	cluster     uint64
	members     []*pb.Member // nil: not read
	listProblem string       // why not

	status    *pb.StatusResponse // nil: no answer
	problem   string             // why not
	denied    bool               // the user is refused
	roundTrip time.Duration
}

func (v *visit) member() ID { return ID(v.status.GetHeader().GetMemberId()) }

func (v *visit) applied() uint64 { return v.status.GetRaftAppliedIndex() }

// visitOne asks the member at one endpoint for the members that it knows, and for its status. It returns after
// timeout at the latest.
func visitOne(ctx context.Context, cli *clientv3.Client, endpoint string, timeout time.Duration) visit {
	v := visit{endpoint: endpoint}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := cli.Dial(endpoint)
	if err != nil {
		v.problem = problem(err, timeout)
		return v
	}
	defer conn.Close()
	// Not linearizable: the member answers from what it knows, so it needs no quorum.
	list, listErr := pb.NewClusterClient(conn).MemberList(ctx, &pb.MemberListRequest{})
	v.listed(list, listErr, timeout)
	var statusErr error
	began := time.Now() // after a first request, so that connecting is not counted
	if v.status, statusErr = pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{}); statusErr != nil {
		v.status = nil
		v.problem, v.denied = problem(statusErr, timeout), denied(statusErr)
		return v
	}
	v.roundTrip = time.Since(began)
	v.cluster = v.status.GetHeader().GetClusterId()
	return v
}

func (v *visit) listed(list *pb.MemberListResponse, err error, timeout time.Duration) {
	if err != nil {
		v.listProblem = problem(err, timeout)
		return
	}
	v.members, v.cluster = list.GetMembers(), list.GetHeader().GetClusterId()
}

// denied tells whether a member refuses the user, or that there is none.
func denied(err error) bool {
	return ask.Unauthorised(err) || errors.Is(rpctypes.Error(err), rpctypes.ErrInvalidAuthToken)
}

// problem is why a request failed, in a few words.
func problem(err error, timeout time.Duration) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(rpctypes.Error(err), rpctypes.ErrUserEmpty):
		return "authentication is on, and the client has no user"
	case denied(err):
		return "permission denied: " + quote.Line(status.Convert(err).Message(), quote.Most)
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return fmt.Sprintf("no answer for %v", timeout)
	case errors.Is(err, context.Canceled), status.Code(err) == codes.Canceled:
		return "cancelled"
	}
	// The address stands beside it: "dial tcp 127.0.0.1:1: connect: connection refused".
	text := ask.Reason(err).Error()
	if _, rest, ok := strings.Cut(text, "connect: "); ok {
		text = rest
	}
	return quote.Line(text, 2*quote.Most)
}

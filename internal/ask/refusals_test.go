package ask_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// refusal is an answer of a member, and what must be said of it.
type refusal struct {
	name                   string
	err                    error // as gRPC or clientv3 returns it
	is                     error
	class                  ask.Class
	permanent, user, token bool
}

func (r *refusal) check(t *testing.T) {
	t.Helper()
	if !errors.Is(r.err, r.is) && !errors.Is(rpctypes.Error(r.err), r.is) {
		t.Errorf("%s: etcd answers %v, want %v", r.name, r.err, r.is)
		return
	}
	if got := ask.ClassOf(r.err); got != r.class || !ask.IsAnswer(r.err) {
		t.Errorf("%s: %v: got %v, want %v, and an answer", r.name, r.err, got, r.class)
	}
	if got := ask.Permanent(r.err); got != r.permanent {
		t.Errorf("%s: %v: Permanent: got %v, want %v", r.name, r.err, got, r.permanent)
	}
	if got := ask.Unauthorised(r.err); got != r.user {
		t.Errorf("%s: %v: Unauthorised: got %v, want %v", r.name, r.err, got, r.user)
	}
	if got := ask.StaleToken(r.err); got != r.token {
		t.Errorf("%s: %v: StaleToken: got %v, want %v", r.name, r.err, got, r.token)
	}
}

// ErrAuthOldRevision is not among them: a simple token has the revision of the moment in which it is
// looked up, so that etcd refuses one only if users are changed right then.
func TestWhatEtcdSaysOfAUserIsInTheRightClass(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	amy := etcdtest.User(t, c, root, "amy", "amy/")
	// clientv3 fetches another token by itself, so that these are asked without it.
	conn, err := grpc.NewClient(c.Endpoints()[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := bounded(t, generous)
	get := func(token string) error {
		asked := ctx
		if token != "" {
			asked = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
		}
		_, err := pb.NewKVClient(conn).Range(asked, &pb.RangeRequest{Key: []byte("amy/x")})
		return err
	}
	login, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: "amy", Password: etcdtest.Password})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(login.Token); err != nil {
		t.Fatal(err)
	}
	_, denied := amy.Put(ctx, "other", "")
	_, unknown := root.UserGet(ctx, "zoe")
	_, notGranted := root.RoleRevokePermission(ctx, "amy", "other", "")
	_, rootDeleted := root.UserDelete(ctx, "root")
	_, password := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: "amy", Password: "wrong"})
	for _, r := range []refusal{
		{"no token", get(""), rpctypes.ErrUserEmpty, ask.Final, true, true, false},
		{"a token that it does not know", get("x.1"), rpctypes.ErrInvalidAuthToken, ask.Refused, false, false, true},
		{"a wrong password", password, rpctypes.ErrAuthFailed, ask.Final, true, true, false},
		{"another's key", denied, rpctypes.ErrPermissionDenied, ask.Final, true, true, false},
		{"an unknown user", unknown, rpctypes.ErrUserNotFound, ask.Final, true, true, false},
		{"a permission that the role has not", notGranted, rpctypes.ErrPermissionNotGranted, ask.Final, true, true, false},
		{"root is deleted", rootDeleted, rpctypes.ErrInvalidAuthMgmt, ask.Final, true, true, false},
	} {
		r.check(t)
	}
	if _, err := root.UserDelete(ctx, "amy"); err != nil {
		t.Fatal(err)
	}
	_, deleted := amy.Get(ctx, "amy/x")
	(&refusal{"a deleted user", deleted, rpctypes.ErrAuthFailed, ask.Final, true, true, false}).check(t)
}

func TestWhatEtcdRefusesForAWhileIsInTheRightClass(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	for _, r := range []refusal{
		{"no space", alarmed(t, cli, pb.AlarmType_NOSPACE), rpctypes.ErrNoSpace, ask.Refused, true, false, false},
		{"a corrupt member", alarmed(t, cli, pb.AlarmType_CORRUPT), rpctypes.ErrCorrupt, ask.Refused, false, false, false},
	} {
		r.check(t)
	}
}

// alarmed is what a Put gets while a member has an alarm.
func alarmed(t *testing.T, cli *clientv3.Client, kind pb.AlarmType) error {
	t.Helper()
	ctx, maintenance := bounded(t, generous), pb.NewMaintenanceClient(cli.ActiveConnection())
	alarm := func(action pb.AlarmRequest_AlarmAction, kind pb.AlarmType) {
		t.Helper()
		if _, err := maintenance.Alarm(ctx, &pb.AlarmRequest{Action: action, Alarm: kind}); err != nil {
			t.Fatal(err)
		}
	}
	alarm(pb.AlarmRequest_ACTIVATE, kind)
	defer alarm(pb.AlarmRequest_DEACTIVATE, kind)
	_, err := pb.NewKVClient(cli.ActiveConnection()).Put(ctx, &pb.PutRequest{Key: []byte("x")})
	return err
}

func TestAnErrorNamesItsEndpointOnce(t *testing.T) {
	atA := func(err error) error { return &ask.EndpointError{Endpoint: "a", Err: err} }
	preface := func(text string) error {
		return status.Error(codes.Unavailable, `connection error: desc = "error reading server preface: `+text+`"`)
	}
	noAnswerFromA := func(err error) error { return &ask.Unanswered{Endpoints: []string{"a"}, Cause: err} }
	for _, test := range []struct {
		err  error
		want string
	}{
		{atA(errors.New("refused")), "a: refused"},
		{atA(noAnswerFromA(errors.New("refused"))), "a: refused"},
		{atA(noAnswerFromA(atA(ask.NoAnswerWithin(time.Second)))), "a: no answer within 1s"},
		{atA(preface("use of closed network connection")), "a: accepts connections, and does not answer"},
		{atA(preface("remote error: tls: expired certificate")), "a: error reading server preface: remote error: tls: expired certificate"},
		{noAnswerFromA(atA(noAnswerFromA(atA(errors.New("refused"))))), "no answer from a: refused"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestACallerThatGaveUpSaysWhereAndWhy(t *testing.T) {
	_, addrs := doors(t, leads)
	cli := plain(t, addrs[:2]...)
	c := ask.Of(cli)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	both := addrs[0] + ", " + addrs[1]
	for _, test := range []struct {
		cause error
		want  string
	}{
		{nil, "no answer from " + both + " (context deadline exceeded)"},
		{errors.New("lease: connection refused"), "no answer from " + both + ": connection refused (context deadline exceeded)"},
		{&ask.EndpointError{Endpoint: "a", Err: errors.New("refused")}, "no answer from " + both + ": a: refused (context deadline exceeded)"},
		{rpctypes.ErrNoSpace, "no success at " + both + ": etcdserver: mvcc: database space exceeded (context deadline exceeded)"},
		{&ask.Unanswered{Endpoints: []string{"a"}, Cause: errors.New("refused")}, "no answer from a: refused (context deadline exceeded)"},
	} {
		err := c.GaveUp(ctx, test.cause)
		if err.Error() != test.want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %q, want %q", err, test.want)
		}
		var outage *ask.Unanswered
		if cause := test.cause; cause != nil && !errors.As(cause, &outage) && !errors.Is(err, cause) {
			t.Errorf("%v: the cause is not found", err)
		}
	}
	known := &ask.Unanswered{Endpoints: []string{"a"}, End: context.DeadlineExceeded}
	ended, end := context.WithCancelCause(t.Context())
	end(known)
	if err := c.GaveUp(ended, errors.New("refused")); err != error(known) {
		t.Errorf("a context whose cause says it: got %v, want %v", err, known)
	}
	cli.Close()
	if err := c.GaveUp(ctx, nil); !errors.Is(err, ask.ErrClosed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a closed client: got %v, want ErrClosed, and the context's error", err)
	}
}

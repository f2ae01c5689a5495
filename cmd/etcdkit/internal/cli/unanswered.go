package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// whyUnanswered gives an error of a request that got no answer the reason, if the members tell one: it asks them.
func (a *app) whyUnanswered(ctx context.Context, cli *clientv3.Client, err error) error {
	if err == nil || ctx.Err() != nil || !reasonWanted(err) {
		return err
	}
	why := doctor.Cause(ctx, cli, &doctor.Options{Timeout: causeTimeout})
	if why == nil || ctx.Err() != nil {
		return err
	}
	return a.silent(why, err)
}

// reasonWanted tells whether an error says only that there was no answer.
func reasonWanted(err error) bool {
	var there *destinationError
	if settled(err) || errors.As(err, &there) || errors.Is(err, client.ErrUnreachable) {
		return false
	}
	var u *ask.Unanswered
	return errors.As(err, &u) || ask.TimeIsUp(err) || isUnavailable(err)
}

// isUnavailable tells whether an error is one of etcd's, or of gRPC's, for a request that is not carried out now.
func isUnavailable(err error) bool {
	var etcd rpctypes.EtcdError
	return status.Code(err) == codes.Unavailable || errors.As(err, &etcd) && etcd.Code() == codes.Unavailable
}

// silent is the error of a command that ended with err as etcd did not answer.
func (a *app) silent(why, err error) error {
	text := noAnswer(why).Error()
	var unsure *unsureError
	if errors.As(err, &unsure) {
		text += "; " + unsure.what
	}
	return coded(ExitUnreachable, errtext.New(fmt.Sprintf("%s; see %s status", text, a.self), why))
}

// unsureError is the error of a request that may have been carried out.
type unsureError struct {
	err  error
	what string // may have happened
}

func (e *unsureError) Error() string { return e.err.Error() + "; " + e.what }
func (e *unsureError) Unwrap() error { return e.err }

// noAnswer is doctor.Cause's error as that of a command.
func noAnswer(why error) error {
	text := errtext.Text(why)
	if !errors.Is(why, doctor.ErrNoQuorum) && !errors.Is(why, doctor.ErrUnreachable) {
		text = "no answer: " + text
	}
	return errtext.New(text, why)
}

// unanswered tells whether an error is no answer: there was none, or a member said that it has no leader or got none from the
// others.
func unanswered(err error) bool {
	return err != nil && !errors.Is(err, io.EOF) && (!ask.IsAnswer(err) || isUnavailable(err))
}

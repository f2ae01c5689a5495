package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failure is why an attempt at an endpoint gave no client.
type failure struct {
	kind kind
	text string // for people; follows the endpoint and a colon
	is   []error
}

// kind says what to do about a failure.
type kind int

const (
	notListening kind = iota // no process listens there; it may be about to start
	unready                  // a process answers, with a fault that can end
	interrupted              // no outcome by the time the context was done
	final                    // trying again cannot help at this endpoint
	rejected                 // nor at any other: the user is not accepted
)

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.is }

func newFailure(k kind, err error, format string, args ...any) *failure {
	return &failure{k, fmt.Sprintf(format, args...), []error{err}}
}

// timeoutFailure is the failure of an attempt that ctx ended while it waited.
func timeoutFailure(ctx context.Context, began time.Time, what string) *failure {
	unit := time.Millisecond
	if time.Since(began) > time.Second {
		unit = 100 * time.Millisecond
	}
	return newFailure(interrupted, ctx.Err(), "%s within %v", what, time.Since(began).Round(unit))
}

// connectFailure explains why there is no connection.
func connectFailure(ctx context.Context, err error, began time.Time) *failure {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case ctx.Err() != nil:
		return timeoutFailure(ctx, began, "no connection")
	case errors.As(err, &dns) && dns.IsNotFound:
		return newFailure(notListening, err, "no such host")
	case errors.As(err, &dns):
		return newFailure(notListening, err, "cannot look up the host: %s", dns.Err)
	case errors.As(err, &errno):
		return newFailure(notListening, err, "%v", errno) // connection refused and its like
	}
	return newFailure(notListening, err, "%v", err)
}

// statusFailure explains the answer to a status request, or that there was
// none on the line; nil if a member answered.
func (d *dialer) statusFailure(ctx context.Context, e endpoint, err error, line *sniffer, began time.Time) *failure {
	code, spoken := status.Code(err), line.protocol()
	var etcd rpctypes.EtcdError
	known := errors.As(rpctypes.Error(err), &etcd)
	switch {
	case err == nil, code == codes.PermissionDenied:
		return nil
	case errors.Is(etcd, rpctypes.ErrUserEmpty) && d.user.value != "":
		return nil // open presents the user
	case errors.Is(etcd, rpctypes.ErrUserEmpty):
		return newFailure(rejected, err, noUserText)
	case known:
		return newFailure(unready, etcd, "%v", etcd)
	case ctx.Err() != nil && spoken == "http/2":
		return timeoutFailure(ctx, began, "connected but did not answer a request")
	case ctx.Err() != nil:
		return timeoutFailure(ctx, began, "accepted the connection but did not answer")
	case code == codes.Unimplemented:
		return newFailure(final, err, "speaks gRPC but is not etcd")
	case spoken == "http/2":
		return newFailure(unready, err, "%s", status.Convert(err).Message())
	case spoken == "http/1":
		return newFailure(final, err, "speaks HTTP/1, not gRPC (is it etcd's peer or metrics port?)")
	case d.tls != nil:
		return d.afterHandshakeFailure(line, err)
	case spoken == "tls" || speaksTLS(ctx, e):
		return tlsFailure(err, "wants TLS but was addressed without: use https://")
	case spoken == "":
		return newFailure(notListening, err, "closed the connection without an answer")
	}
	return newFailure(final, err, "speaks neither gRPC nor TLS")
}

// openFailure explains why a member that answers gave the user no token.
func (d *dialer) openFailure(ctx context.Context, err error, began time.Time) *failure {
	var etcd rpctypes.EtcdError
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return newFailure(rejected, err, "%s", wrongUserText(d.user.value, d.user.origin()))
	case ctx.Err() != nil:
		return timeoutFailure(ctx, began, "answered, but could not authenticate the user (has the cluster lost its quorum?)")
	case errors.As(err, &etcd), status.Code(err) == codes.Unavailable:
		return newFailure(unready, err, "answered, but could not authenticate the user: %v", err)
	}
	return newFailure(final, err, "%v", err)
}

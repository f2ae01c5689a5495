package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"
)

// Why a lease ended. Lease.Err is exactly one of them; see errors.Is.
var (
	// ErrExpired: the deadline passed, and no member had failed to answer: this process, or
	// the machine, stood still.
	ErrExpired = errors.New("lease: expired")
	// ErrRevoked: a member said that the lease is gone while its deadline was still ahead.
	// Someone revoked it, or the cluster's data was replaced.
	ErrRevoked = errors.New("lease: revoked")
	// ErrUnreachable: no member renewed the lease before its deadline, or, from the Keeper's
	// methods, granted one before the context ended. The last cause is within reach of
	// errors.Is.
	ErrUnreachable = errors.New("lease: no member reachable")
	// ErrUnauthorised: etcd refuses the user, its token or its access to a key on the lease.
	// Trying again will not help, so nothing does.
	ErrUnauthorised = errors.New("lease: not authorised")
	// ErrClosed: the Keeper was closed.
	ErrClosed = errors.New("lease: keeper closed")
)

// ErrTooManyKeys: a reservation asked for more keys than one lease carries, or for none.
var ErrTooManyKeys = errors.New("lease: number of keys out of range")

// failure is an error with a reason and its cause: one text, both found by errors.Is.
type failure struct {
	text string
	is   []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.is }

// ended says why a lease ended.
func ended(id clientv3.LeaseID, reason error, text string, cause error) error {
	f := &failure{fmt.Sprintf("%v: lease %016x", reason, int64(id)), []error{reason}}
	if text != "" {
		f.text += " " + text
	}
	if cause != nil {
		f.text += ": " + cause.Error()
		f.is = append(f.is, cause)
	}
	return f
}

// notGranted is the error of a caller who does not wait any longer.
func notGranted(end, cause error, endpoints []string) error {
	if cause == nil {
		return fmt.Errorf("lease: grant through %s: %w", strings.Join(endpoints, ", "), end)
	}
	text := fmt.Sprintf("grant through %s: %v; the last try, %v", strings.Join(endpoints, ", "), end, cause)
	if errors.Is(cause, rpctypes.ErrNoSpace) || errors.Is(cause, rpctypes.ErrTooManyRequests) {
		return &failure{"lease: " + text, []error{end, cause}} // a member is there, and says no
	}
	return &failure{ErrUnreachable.Error() + ": " + text, []error{ErrUnreachable, end, cause}}
}

// tryError is why one try failed, and where.
type tryError struct {
	route string
	err   error
}

func (e *tryError) Error() string {
	text := e.err.Error()
	if s, ok := status.FromError(e.err); ok {
		text = s.Message() // without gRPC's words around it
	}
	if e.route == shared {
		return "through the client's connection: " + text
	}
	return "at " + e.route + ": " + text
}

func (e *tryError) Unwrap() error { return e.err }

// silentError: a try has no answer yet. It may still get one.
type silentError time.Duration

func (e silentError) Error() string {
	return "no answer within " + time.Duration(e).Round(time.Millisecond).String()
}

// denial tells whether err is about the user. A token can be stale without anything being
// wrong: it expires, members forget it when they restart, and other changes of users age it;
// every new stream fetches another. The remaining denials are final.
func denial(err error) (denied, stale bool) {
	is := func(sentinel error) bool { return errors.Is(err, sentinel) }
	stale = slices.ContainsFunc([]error{
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty,
	}, is)
	return stale || slices.ContainsFunc([]error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserNotFound, rpctypes.ErrPermissionNotGranted,
	}, is), stale
}

// staleTokens is how often in a row a token may be stale before the user is taken as refused.
const staleTokens = 3

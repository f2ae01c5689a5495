package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/cause"
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
	// ErrClosed: the Keeper was closed, or the etcd client that it stands on; the text says which.
	ErrClosed = errors.New("lease: closed")
)

// ErrCertificate comes with ErrUnreachable when the members refuse this client's certificate: it has
// expired, or they do not trust it. A new one in its place helps without a restart, where the client
// reads the file again, as client.Dial's does.
//
// The errors of packages lock, election, registry, mirror and discovery have it, too.
var ErrCertificate = ask.ErrCertificate

// ErrInvalid: an argument is wrong. Nothing was sent.
var ErrInvalid = errors.New("lease: invalid argument")

// ErrTooManyKeys: a reservation asked for more keys than one lease carries, or for none. It is an
// ErrInvalid.
var ErrTooManyKeys = cause.New("lease: number of keys out of range", ErrInvalid)

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
	return f.certificate(cause)
}

// certificate adds what to do about a certificate that the members refuse.
func (f *failure) certificate(cause error) *failure {
	if ask.Certificate(cause) {
		f.text += "; the members refuse this client's certificate: renew it"
		f.is = append(f.is, ErrCertificate)
	}
	return f
}

// clientClosed is the error of everything on a client that was closed.
func clientClosed() error {
	return &failure{ErrClosed.Error() + ": " + ask.ErrClosed.Error(), []error{ErrClosed, ask.ErrClosed}}
}

// notGranted is the error of a caller that does not wait any longer.
func notGranted(end, cause error, endpoints []string) error {
	if cause == nil {
		return fmt.Errorf("lease: grant through %s: %w", strings.Join(endpoints, ", "), end)
	}
	text := fmt.Sprintf("grant through %s: %v; the last try, %v", strings.Join(endpoints, ", "), end, cause)
	if outage := (*ask.Unanswered)(nil); errors.As(cause, &outage) { // it names them
		text = fmt.Sprintf("grant: %v: %v", end, outage)
	}
	if errors.Is(cause, rpctypes.ErrNoSpace) || errors.Is(cause, rpctypes.ErrTooManyRequests) {
		return &failure{"lease: " + text, []error{end, cause}} // a member is there, and says no
	}
	return (&failure{ErrUnreachable.Error() + ": " + text, []error{ErrUnreachable, end, cause}}).certificate(cause)
}

// unconfirmed is the error of Confirm's caller, which does not wait any longer.
func unconfirmed(id string, end, cause error, endpoints []string) error {
	text := fmt.Sprintf("lease: confirm %s: no answer from %s: %v", id, strings.Join(endpoints, ", "), end)
	if cause == nil {
		return &failure{text, []error{end}}
	}
	if outage := (*ask.Unanswered)(nil); errors.As(cause, &outage) { // it names them
		return (&failure{fmt.Sprintf("lease: confirm %s: %v: %v", id, end, outage), []error{end, cause}}).certificate(cause)
	}
	return (&failure{fmt.Sprintf("%s; the last try, %v", text, cause), []error{end, cause}}).certificate(cause)
}

// tryError is why one try failed, and where.
type tryError struct {
	route string
	err   error
}

func (e *tryError) Error() string {
	text := e.err.Error()
	if reason := ask.Reason(e.err); reason != nil {
		text = reason.Error() // without gRPC's words around it
	}
	switch e.route {
	case everywhere:
		return text
	case shared:
		return "through the client's connection: " + text
	}
	return "at " + e.route + ": " + text
}

func (e *tryError) Unwrap() error { return e.err }

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

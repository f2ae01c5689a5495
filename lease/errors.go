package lease

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Why a lease ended. Lease.Err is exactly one of them; see errors.Is.
var (
	// ErrExpired: the deadline passed, and no try to renew the lease had failed: this process, or
	// the machine, stood still.
	ErrExpired = errors.New("lease: expired")
	// ErrRevoked: a member said that the lease is gone while its deadline was still ahead.
	// Another client revoked it, or the cluster's data was replaced.
	ErrRevoked = errors.New("lease: revoked")
	// ErrUnreachable: no member renewed the lease before its deadline, or, from the Keeper's
	// methods, granted one before the context ended. errors.Is finds the last cause.
	ErrUnreachable = errors.New("lease: no member reachable")
	// ErrUnauthorised: etcd refuses the user, its token or its access to a key on the lease.
	// Trying again will not help, so nothing does.
	ErrUnauthorised = errors.New("lease: not authorised")
	// ErrClosed: the Keeper was closed, or the etcd client that it stands on; the text says which.
	ErrClosed = errors.New("lease: closed")
)

// ErrCertificate comes with ErrUnreachable when the members refuse this client's certificate: it has
// expired, or they do not trust it. Replacing it helps without a restart, where the client
// reads the file again, as client.Dial's does.
//
// The errors of packages lock, election, registry, mirror and discovery have it, too.
var ErrCertificate = ask.ErrCertificate

// ErrInvalid: an argument is wrong. Nothing was sent.
var ErrInvalid = errors.New("lease: invalid argument")

// ErrTooManyKeys: a reservation asked for more keys than one lease carries, or for none. It is an
// ErrInvalid.
var ErrTooManyKeys = errtext.New("lease: number of keys out of range", ErrInvalid)

// ended is why a lease ended.
func ended(id clientv3.LeaseID, reason error, text string, why error) error {
	full := fmt.Sprintf("%v: lease %x", reason, int64(id))
	if text != "" {
		full += " " + text
	}
	if why != nil {
		full += ": " + errtext.Text(why)
	}
	return explained(full, why, reason)
}

// explained is an error with that text. It says what to do about a certificate that the members refuse.
func explained(text string, why error, is ...error) error {
	if ask.RefusesCertificate(why) {
		text += "; the members refuse this client's certificate: renew it"
		is = append(is, ErrCertificate)
	}
	return errtext.New(text, append(is, why)...)
}

// clientClosed is the error of asking for a lease on a client that was closed.
func clientClosed() error { return errtext.Errorf("%w: grant: %w", ErrClosed, ask.ErrClosed) }

// gaveUp names the endpoints, why the latest try failed, and what ended the waiting.
func (k *Keeper) gaveUp(end, why error) error {
	return ask.GaveUp(k.etcd.endpoints(), end, ask.Latest(k.etcd, why))
}

// notGranted is the error of a caller that no longer waits for a lease.
func (k *Keeper) notGranted(end, why error) error {
	why = ask.Latest(k.etcd, why)
	err := k.gaveUp(end, why)
	if why == nil || errors.Is(why, rpctypes.ErrNoSpace) || errors.Is(why, rpctypes.ErrTooManyRequests) {
		return errtext.Errorf("lease: grant: %w", err) // nothing failed, or a member is there and says no
	}
	return explained(fmt.Sprintf("%v: grant: %v", ErrUnreachable, err), err, ErrUnreachable)
}

// unconfirmed is the error of Confirm's caller that no longer waits.
func (l *Lease) unconfirmed(end error) error {
	l.mu.Lock()
	why := l.cause
	l.mu.Unlock()
	err := l.keeper.gaveUp(end, why)
	return explained(fmt.Sprintf("lease: confirm %s: %v", l.hex(), err), err)
}

// staleTokens is how often in a row a token may be stale before the user counts as refused.
const staleTokens = 3

// denial tells whether err is about the user. A stale token is nothing wrong: every new stream fetches
// another. A stream has the token of the moment in which it was opened: none, if authentication was
// off then, which etcd calls a missing user. The remaining denials are final.
func denial(err error) (denied, stale bool) {
	stale = ask.StaleToken(err) || errors.Is(err, rpctypes.ErrUserEmpty)
	return stale || ask.Unauthorised(err), stale
}

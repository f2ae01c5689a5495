package ask

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// Class says what an error tells about a request, and what to do.
//
// Other words for "do not try again" are wider or narrower than Final, which is about the request alone:
//
//   - Permanent: Final, or etcd has no space left. Hedge.Failed decides so where it is nil.
//   - Unauthorised: the part of Final that is about the user. For a read it is what package mirror
//     gives up for.
//   - A caller's Hedge.Failed may go beyond that. Package lease ends a lease for Unauthorised, and for a
//     StaleToken that comes again and again, as each of its streams has had a new token.
type Class int

const (
	// Done: no error.
	Done Class = iota
	// Final: nothing was applied, and the same request will fail again.
	Final
	// Refused: nothing was applied; the same request may succeed later, or at another member.
	Refused
	// Ambiguous: there is no answer that says whether it was applied.
	Ambiguous
)

func (c Class) String() string {
	return [...]string{"done", "final", "refused", "ambiguous"}[c]
}

// known are the errors whose gRPC code does not tell their class.
var known = []struct {
	err   error
	class Class
	why   string
}{
	{rpctypes.ErrNoLeader, Refused, "a member without a leader says so before it does anything, if asked to (WithRequireLeader)"},
	{rpctypes.ErrTooManyRequests, Refused, "the member's backlog is full, and drains"},
	{rpctypes.ErrNoSpace, Refused, "writes are refused until the alarm is disarmed"},
	{rpctypes.ErrCorrupt, Refused, "the alarm is checked first, and another member may not have it"},
	{rpctypes.ErrInvalidAuthToken, Refused, "a token expires, and members forget it when they restart; clientv3 fetches another"},
	{rpctypes.ErrAuthOldRevision, Refused, "users were changed while the request was under way; clientv3 fetches another token"},
	{rpctypes.ErrNotLeader, Refused, "another member leads"},
	{rpctypes.ErrNotCapable, Refused, "the cluster is being upgraded"},
	{rpctypes.ErrGRPCNotSupportedForLearner, Refused, "another member is no learner"},
	{rpctypes.ErrClusterVersionUnavailable, Refused, "the cluster is starting"},
	{rpctypes.ErrUserEmpty, Final, "authentication is on and the client has no user; for one that has, clientv3 has fetched a token by then"},
	{rpctypes.ErrPermissionDenied, Final, "a person must grant the permission"},
	{rpctypes.ErrAuthFailed, Final, "the name or the password is wrong"},
	{rpctypes.ErrUserNotFound, Final, "the user was deleted"},
	{rpctypes.ErrPermissionNotGranted, Final, "a person must grant the permission"},
	{rpctypes.ErrInvalidAuthMgmt, Final, "etcd does not allow it while authentication is on"},
	{rpctypes.ErrGRPCWatchCanceled, Ambiguous, "the watch ended; another one continues it"},
}

// classByCode are the classes of the other errors that etcd sends, by their gRPC code.
var classByCode = map[codes.Code]Class{
	codes.InvalidArgument:    Final,
	codes.FailedPrecondition: Final,
	codes.NotFound:           Final,
	codes.OutOfRange:         Final, // compacted, a future revision, too large a TTL
	codes.PermissionDenied:   Final,
	codes.Unauthenticated:    Final,
	codes.Unimplemented:      Final,
	// Timeouts, a stopping member, a leader that changed: the request may be in the log.
	codes.Unavailable:       Ambiguous,
	codes.DeadlineExceeded:  Ambiguous,
	codes.Canceled:          Ambiguous,
	codes.Unknown:           Ambiguous,
	codes.Internal:          Ambiguous,
	codes.ResourceExhausted: Ambiguous, // but for what is in known
	codes.DataLoss:          Ambiguous,
}

// ClassOf tells the class of a request's error.
func ClassOf(err error) Class {
	if err == nil {
		return Done
	}
	if errors.Is(err, ErrClosed) {
		return Final
	}
	for _, k := range known {
		if isAny(err, k.err) {
			return k.class
		}
	}
	if code, ok := etcdCode(err); ok {
		if class, ok := classByCode[code]; ok {
			return class
		}
		return Ambiguous
	}
	if strings.Contains(err.Error(), "trying to send message larger than max") { // gRPC, on this side
		return Final
	}
	return Ambiguous
}

// NotApplied tells whether the error says for certain that nothing was applied.
func NotApplied(err error) bool {
	class := ClassOf(err)
	return class == Final || class == Refused
}

// Permanent tells whether the same request will fail again until a person does something: it is Final,
// or the member refuses writes as its space is used up.
func Permanent(err error) bool {
	return ClassOf(err) == Final || isAny(err, rpctypes.ErrNoSpace)
}

// Unauthorised tells whether etcd refuses the user: it does not know the user or the password, or the
// user has no permission. A stale token is no such refusal; see StaleToken.
func Unauthorised(err error) bool {
	return isAny(err, rpctypes.ErrPermissionDenied, rpctypes.ErrPermissionNotGranted, rpctypes.ErrAuthFailed,
		rpctypes.ErrUserNotFound, rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthMgmt)
}

// StaleToken tells whether etcd refuses the token and not the user: the token has expired, the member
// forgot it when it restarted, or users were changed since. The next request has another.
func StaleToken(err error) bool {
	return isAny(err, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision)
}

// isAny tells whether err is one of etcd's errors, as clientv3 returns them or as gRPC does.
func isAny(err error, targets ...error) bool {
	if err == nil {
		return false
	}
	typed := rpctypes.Error(err)
	for _, target := range targets {
		if errors.Is(err, target) || errors.Is(typed, target) {
			return true
		}
	}
	return false
}

// Sent tells after a call whether a member may have received it. Its error does not: clientv3 repeats
// some calls by itself, and returns what the last try met, which says nothing about the first.
type Sent struct{ peer peer.Peer }

// Option is the call's.
func (s *Sent) Option() grpc.CallOption { return grpc.Peer(&s.peer) }

// Maybe is false if no try of the call had a connection.
func (s *Sent) Maybe() bool { return s.peer.Addr != nil }

// IsAnswer tells whether the error is an answer of etcd's; no error is one, too.
func IsAnswer(err error) bool {
	if err == nil {
		return true
	}
	_, ok := etcdCode(err)
	return ok
}

// ErrCertificate is in the errors of requests when RefusesCertificate is true of their cause. Package lease
// has it for users.
var ErrCertificate = errors.New("certificate refused")

// RefusesCertificate tells whether a member refuses this client's certificate, as expired or otherwise. It
// can be replaced while the client runs.
func RefusesCertificate(err error) bool {
	if err == nil {
		return false
	}
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	return ok && strings.Contains(alert, "certificate")
}

// etcdCode is the code of an error that etcd sent.
func etcdCode(err error) (codes.Code, bool) {
	var etcd rpctypes.EtcdError
	if errors.As(err, &etcd) || errors.As(rpctypes.Error(err), &etcd) {
		return etcd.Code(), true
	}
	return 0, false
}

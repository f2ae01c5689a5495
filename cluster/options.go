package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Sentinels for errors.Is. Each error that wraps one says what to do next.
var (
	// ErrInvalid: an argument or an option cannot be used, or no member has the name that was given
	// (then the error is an UnknownMemberError). Nothing was done.
	ErrInvalid = errors.New("cluster: invalid argument")
	// ErrPortTaken: another process holds a port. The error names it where the system tells.
	ErrPortTaken = errors.New("cluster: port taken")
	// ErrDataDir: the data directory cannot be used as it is. It was left untouched.
	ErrDataDir = errors.New("cluster: data directory")
	// ErrState: the member is not in a state in which this can be done to it.
	ErrState = errors.New("cluster: wrong state")
	// ErrNoLeader: there is no leader for the name "leader", or no member could be made leader.
	ErrNoLeader = errors.New("cluster: no leader")
	// ErrInProcess: the fault needs members that are processes.
	ErrInProcess = errors.New("cluster: members run in this process")
	// ErrDirect: the fault needs the proxies that Options.Direct does without.
	ErrDirect = errors.New("cluster: no proxies before the members")
	// ErrNoRunMember: the program does not call RunMember, so it cannot re-execute itself as a member.
	ErrNoRunMember = errors.New("cluster: RunMember was not called")
	// ErrMemberFailed: a member ended before the cluster was ready. The error quotes its reason.
	ErrMemberFailed = errors.New("cluster: member failed")
	// ErrClosed: the cluster was closed.
	ErrClosed = errors.New("cluster: closed")
)

// Options of Start. The zero value and nil are a three-member cluster of processes on etcd's
// usual ports with temporary data.
type Options struct {
	// Members is 1, 3 or 5; 0 means 3.
	Members int
	// DataDir keeps the data and is used again by the next Start. Empty means a temporary
	// directory that Close removes (and that is removed when this process is killed, too).
	DataDir string
	// AnyPort takes free ports instead of 2379/2380, 22379/22380, … on 127.0.0.1.
	AnyPort bool
	// InProcess runs the members in this process: they start faster and cannot be killed,
	// paused or partitioned. For plain tests.
	InProcess bool
	// Direct has the members listen on their ports themselves, as in production. Without the
	// proxies the network cannot be cut or slowed, and the cluster is ready up to 2 s later. For
	// benchmarks: under load the proxies take CPU time that would be measured, too (docs/adr/0002).
	Direct bool
	// ClientTLS makes the client endpoints https. Nil means plain http.
	ClientTLS *TLS
	// Gateway serves etcd's HTTP and JSON API on the client ports, below /v3/. Off by default: every
	// web page that is open on this machine can then write keys with it (a page cannot read
	// the answers).
	Gateway bool
	// QuotaBytes is the space quota of each member. When it is used up, etcd refuses writes with the
	// NOSPACE alarm. 0 means etcd's default, 2 GiB.
	QuotaBytes int64
	// AuthTokenTTL is how long a user's token stays valid without being used, in whole seconds.
	// 0 means etcd's default, 5 minutes.
	AuthTokenTTL time.Duration
	// BcryptCost is how much work the check of a password is, from 4 to 31; each step doubles it. 0 means etcd's default, 10: some 60 ms.
	BcryptCost int
	// Logger gets the members' warnings and unexpected ends, one record for each change and
	// not one for each repetition. Nil is silent. Everything is in the members' log files.
	Logger *slog.Logger
}

// TLS names the PEM files of the members' client endpoints. Members read CertFile and KeyFile again
// for each connection, so replaced files need no restart. ClientCAFile is read once, when a member
// starts.
type TLS struct {
	CertFile, KeyFile string
	// ClientCAFile, if set, makes members demand a client certificate that it signed.
	ClientCAFile string
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	switch opts.Members {
	case 0:
		opts.Members = 3
	case 1, 3, 5:
	default:
		return opts, fmt.Errorf("%w: %d members: want 1, 3 or 5 (an even number adds a member but no fault tolerance)", ErrInvalid, opts.Members)
	}
	if t := opts.ClientTLS; t != nil && (t.CertFile == "" || t.KeyFile == "") {
		return opts, fmt.Errorf("%w: ClientTLS needs both CertFile and KeyFile", ErrInvalid)
	}
	if c := opts.BcryptCost; c != 0 && (c < 4 || c > 31) {
		return opts, fmt.Errorf("%w: BcryptCost %d: want 4 to 31, or 0 for etcd's default", ErrInvalid, c)
	}
	if t := opts.AuthTokenTTL; t < 0 || t%time.Second != 0 {
		return opts, fmt.Errorf("%w: AuthTokenTTL %v: want whole seconds, or 0 for etcd's default", ErrInvalid, t)
	}
	if opts.QuotaBytes < 0 {
		return opts, fmt.Errorf("%w: QuotaBytes %d: want more than 0, or 0 for etcd's default", ErrInvalid, opts.QuotaBytes)
	}
	if strings.ContainsRune(opts.DataDir, 0) {
		return opts, fmt.Errorf("%w: data directory %q contains a NUL byte", ErrInvalid, opts.DataDir)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts, nil
}

// UnknownMemberError is the ErrInvalid for a name that no member has.
type UnknownMemberError struct {
	Name  string
	Known []string // the names that exist
}

func (e *UnknownMemberError) Error() string {
	return fmt.Sprintf("cluster: unknown member %q: the members are %s", e.Name, strings.Join(e.Known, ", "))
}

func (e *UnknownMemberError) Is(target error) bool { return target == ErrInvalid }

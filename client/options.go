package client

import (
	"time"

	"google.golang.org/grpc"
)

// Options are the settings of [Dial], [New] and [Endpoints]. nil and the zero value take every
// setting from the environment or its default; see the package documentation.
type Options struct {
	// Endpoints are members' client addresses. Spaces around them, empty ones
	// and duplicates are dropped.
	Endpoints []string

	// CACert, Cert and Key are paths of PEM files: the authorities that may
	// have signed the members' certificates, and the client's own certificate
	// and its key. Cert and Key come together or not at all.
	CACert, Cert, Key string

	// User is a name or name:password. A Password from the same place or an
	// earlier one (Options, ETCDKIT_PASSWORD, ETCDCTL_PASSWORD) goes first.
	User, Password string

	// Timeout bounds Dial, as the deadline of its ctx does. Default 5 s.
	Timeout time.Duration

	// InsecurePlaintextPassword permits sending User and Password without TLS
	// to an address that is not loopback, where anyone on the way can read them.
	InsecurePlaintextPassword bool

	// Getenv is where ETCDKIT_ and ETCDCTL_ variables are looked up. nil is os.Getenv. With one
	// that returns "" for all of them, only Options and the defaults count.
	Getenv func(variable string) string

	// DialOptions are added to the client's connection: interceptors (use the
	// Chain variants, the plain ones replace clientv3's retries), statistics,
	// limits. Dial tries the endpoints without them, so they are not the place
	// to change how a connection is made.
	DialOptions []grpc.DialOption
}

// Endpoints returns the endpoints that [Dial] would use, in order, but does not look
// for a running etcdkit dev: the default is localhost:2379. It reads the environment
// but no file, and sends nothing. Its errors are ErrInvalid.
func Endpoints(opts *Options) ([]string, error) {
	cfg, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	return cfg.texts(), nil
}

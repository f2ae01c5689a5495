package client

import (
	"errors"
	"fmt"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

var (
	// ErrInvalid: a setting is malformed, missing or contradicts another one, or
	// a TLS file cannot be used. Nothing was sent. The message names the
	// setting, or its variable when it came from the environment.
	ErrInvalid = errors.New("client: invalid argument")

	// ErrPlaintextPassword: the password would have crossed a network
	// unencrypted. It is an ErrInvalid as well: nothing was sent.
	ErrPlaintextPassword = errors.New("client: password over plaintext")

	// ErrUnreachable: no member answered. The message has the last cause at
	// each endpoint, and the causes' own errors (syscall.ECONNREFUSED,
	// *net.DNSError, ...) are found by errors.Is and errors.As. When Dial
	// was stopped by its deadline or a cancellation, the context's error is too.
	ErrUnreachable = errors.New("client: no member answered")

	// ErrTLS comes with ErrUnreachable when an endpoint was reached but TLS
	// failed: an unknown authority, an expired certificate, a refused
	// certificate, TLS on one side only. Trying again will not help there.
	ErrTLS = errors.New("client: TLS failed")

	// ErrAuth: a member answered and wants another user or password, or one at
	// all. Trying again will not help.
	ErrAuth = errors.New("client: not authenticated")
)

// newError is every error of this package: a text for people, and what errors.Is and errors.As find in it.
func newError(text string, is ...error) error { return errtext.New("client: "+text, is...) }

// configError is an ErrInvalid, and what is wrapped with %w.
func configError(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return newError(err.Error(), ErrInvalid, err)
}

// noUserText is for etcd's answer that a user is needed.
const noUserText = "authentication is on and no user is set: set User and Password, or ETCDKIT_USER=name:password"

// wrongUserText is for etcd's answer that it does not accept the user. from may be empty: see setting.origin.
func wrongUserText(name, from string) string {
	return fmt.Sprintf("wrong name or password for user %q%s", name, from)
}

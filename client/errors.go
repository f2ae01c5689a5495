package client

import (
	"errors"
	"fmt"
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
	// *net.DNSError, ...) are within reach of errors.Is and errors.As. When Dial
	// was stopped by its deadline or a cancellation, the context's error is too.
	ErrUnreachable = errors.New("client: no member answered")

	// ErrTLS comes with ErrUnreachable when an endpoint was reached but TLS
	// stood in the way: an unknown authority, an expired certificate, a refused
	// certificate, TLS on one side only. Trying again will not help there.
	ErrTLS = errors.New("client: TLS failed")

	// ErrAuth: a member answered and wants another user or password, or one at
	// all. Trying again will not help.
	ErrAuth = errors.New("client: not authenticated")
)

// dialError is every error of this package: words for people, and what
// errors.Is and errors.As find in it.
type dialError struct {
	text string
	is   []error
}

func (e *dialError) Error() string   { return "client: " + e.text }
func (e *dialError) Unwrap() []error { return e.is }

// configError is an ErrInvalid, and whatever is wrapped with %w.
func configError(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &dialError{err.Error(), []error{ErrInvalid, err}}
}

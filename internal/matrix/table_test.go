package matrix_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// outcome is what happens to a handle.
type outcome string

const (
	ends    outcome = "ends"    // the handle ends, and says so within the time, with the error
	stays   outcome = "stays"   // the handle works on, as if nothing had happened
	back    outcome = "back"    // the handle works again within the time after the situation is over
	shows   outcome = "shows"   // the handle shows the change within the time
	returns outcome = "returns" // the handle's calls return within the time, with the error
	closes  outcome = "closes"  // Close returns within the time
	quiet   outcome = "quiet"   // the handles make no more requests than the rate
	opens   outcome = "opens"   // the handle can be opened within the time
)

// left is what is in etcd afterwards.
type left string

const (
	nothing     left = "nothing"
	expired     left = "nothing once its lease has expired"
	itsKey      left = "its key"
	untilExpiry left = "its key until its lease expires"
)

// sentinel is an error by its name.
type sentinel struct {
	name string
	err  error
}

var (
	lockLost        = &sentinel{"lock.ErrLost", lock.ErrLost}
	lockClosed      = &sentinel{"lock.ErrClosed", lock.ErrClosed}
	lockName        = &sentinel{"lock.ErrInvalid", lock.ErrInvalid}
	termLost        = &sentinel{"election.ErrLost", election.ErrLost}
	electionClosed  = &sentinel{"election.ErrClosed", election.ErrClosed}
	electionName    = &sentinel{"election.ErrInvalid", election.ErrInvalid}
	registryClosed  = &sentinel{"registry.ErrClosed", registry.ErrClosed}
	invalid         = &sentinel{"registry.ErrInvalid", registry.ErrInvalid}
	leaseClosed     = &sentinel{"lease.ErrClosed", lease.ErrClosed}
	leaseGone       = &sentinel{"lease.ErrRevoked", lease.ErrRevoked}
	leaseExpired    = &sentinel{"lease.ErrExpired", lease.ErrExpired}
	unreachable     = &sentinel{"lease.ErrUnreachable", lease.ErrUnreachable}
	mirrorClosed    = &sentinel{"mirror.ErrClosed", mirror.ErrClosed}
	mirrorInvalid   = &sentinel{"mirror.ErrInvalid", mirror.ErrInvalid}
	transportClosed = &sentinel{"httptransport.ErrClosed", httptransport.ErrClosed}
	noSpace         = &sentinel{"rpctypes.ErrNoSpace", rpctypes.ErrNoSpace}
	certificate     = &sentinel{"lease.ErrCertificate", lease.ErrCertificate}
	cancelled       = &sentinel{"context.Canceled", context.Canceled}
	deadline        = &sentinel{"context.DeadlineExceeded", context.DeadlineExceeded}
)

// is tells whether err is the sentinel. Without one any error will do.
func (s *sentinel) is(err error) bool {
	if s == nil {
		return err != nil
	}
	return errors.Is(err, s.err)
}

// promise is one cell, or several that are alike.
type promise struct {
	rows    []string
	outcome outcome
	within  time.Duration
	err     *sentinel
	rate    float64 // requests a second; where handles are many, of all of them together
	left    left
	note    string // for the page
	not     string // why the situation does not apply to the row; then nothing else is set
}

// situation is a column.
type situation struct {
	name     string
	short    string // head of its column
	how      string // what its test does, for the page
	test     string
	long     string // "" or what only the long target adds
	promises []promise
}

// promised is the row's promise, and whether there is exactly one.
func (s *situation) promised(name string) (promise, int) {
	var found promise
	n := 0
	for _, p := range s.promises {
		if slices.Contains(p.rows, name) {
			found = p
			n++
		}
	}
	return found, n
}

// part is some of the columns, which make one matrix of the page.
type part struct {
	name    string
	columns []*situation
}

// Names of rows, for the table.
var (
	holds     = []string{"Hold: Mutex", "Hold: Mutex, Local", "Hold: Mutex, Linger", "Hold: RWMutex, reading", "Hold: RWMutex, writing", "Hold: Semaphore"}
	waiters   = []string{"Waiter: Mutex", "Waiter: Mutex, Local", "Waiter: Mutex, Linger", "Waiter: RWMutex, reading", "Waiter: RWMutex, writing", "Waiter: Semaphore"}
	term      = []string{"Term"}
	candidate = []string{"Candidate"}
	observer  = []string{"Observer"}
	registers = []string{"Registration", "Registrar"}
	keeper    = []string{"Keeper and Lease"}
	view      = []string{"View"}
	mirrors   = []string{"Mirror"}
	resolver  = []string{"grpcresolver"}
	transport = []string{"httptransport"}

	queued   = slices.Concat(holds, waiters)
	elected  = slices.Concat(term, candidate)
	writing  = slices.Concat(queued, elected, registers, keeper)
	requests = slices.Concat(resolver, transport)
	copies   = slices.Concat(view, mirrors)
	reading  = slices.Concat(observer, copies, requests)
	every    = slices.Concat(writing, reading)
)

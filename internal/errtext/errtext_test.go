package errtext_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

var (
	errLease = errors.New("lease: revoked")
	errLock  = errors.New("lock: ownership lost")
)

func TestAnErrorNamesOnePackage(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errtext.Errorf("lock: acquire %q: %w", "jobs", errLease), `lock: acquire "jobs": revoked`},
		{errtext.Errorf("lock: acquire %q: %v", "jobs", errLease), `lock: acquire "jobs": revoked`},
		{errtext.Errorf("%w: %q: %w", errLock, "jobs", errLease), `lock: ownership lost: "jobs": revoked`},
		{errtext.Errorf("election: campaign: %w", errtext.Errorf("%w: entry x: %w", errLock, errLease)), "election: campaign: ownership lost: entry x: revoked"},
		{errtext.Errorf("lock: close: %w", errors.Join(errLock, errLease)), "lock: close: ownership lost\nrevoked"},
		{errtext.Errorf("lock: close: %w", errors.New("client: lease: x")), "lock: close: x"},
		{errtext.Errorf("lock: read: %w", io.EOF), "lock: read: EOF"},
		{errtext.Errorf("lock: read: %w", errors.New("etcdserver: no leader")), "lock: read: etcdserver: no leader"},
		{errtext.Errorf("lock: %d of %d", 1, 2), "lock: 1 of 2"},
		{errtext.Errorf("lock: %v", error(nil)), "lock: <nil>"},
		{errtext.New("lock: jobs: revoked", errLock, nil, errLease), "lock: jobs: revoked"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if got := errtext.Text(errLease); got != "revoked" {
		t.Errorf("Text: got %q", got)
	}
	if got := errtext.Text(nil); got != "" {
		t.Errorf("Text of no error: got %q", got)
	}
}

type odd struct{ n int }

func (o *odd) Error() string { return fmt.Sprint("lease: odd ", o.n) }

func TestWhatIsWrappedIsFound(t *testing.T) {
	refused := fmt.Errorf("lease: refused: %w", status.Error(codes.PermissionDenied, "no"))
	args := []any{errLock, &odd{7}, refused}
	err := errtext.Errorf("%w: %w: %w", args...)
	if _, ok := args[1].(*odd); !ok {
		t.Error("Errorf has changed its arguments")
	}
	var o *odd
	if !errors.Is(err, errLock) || !errors.As(err, &o) || o.n != 7 {
		t.Errorf("%v: what it wraps is not found", err)
	}
	if got := status.Code(err); got != codes.PermissionDenied {
		t.Errorf("gRPC's code: got %v, want PermissionDenied", got)
	}
	several := errtext.New("lock: both", errLock, context.Canceled)
	for _, want := range []error{errLock, context.Canceled} {
		if !errors.Is(several, want) || !errors.Is(errtext.Errorf("%w", several), want) {
			t.Errorf("%v is not found in %v", want, several)
		}
	}
	if errors.Is(errtext.Errorf("lock: %v", errLease), errLease) {
		t.Error("what is only printed is found")
	}
}

package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Sentinels for errors.Is.
var (
	// ErrStale: a newer token was accepted, so the lock is not held any longer under this one. The
	// error is a *StaleError. Do not try again: acquire the lock anew.
	ErrStale = errors.New("fence: stale token")
	// ErrInvalid: the caller's mistake: this is not a token, or not the name of a Table. Nothing was sent.
	ErrInvalid = errors.New("fence: invalid argument")
)

// StaleError is an ErrStale.
type StaleError struct {
	Name  string // of the lock
	Token int64  // that was refused
	Seen  int64  // that was accepted before; 0: not known
}

func (e *StaleError) Error() string {
	newer := "a newer one"
	if e.Seen != 0 {
		newer = strconv.FormatInt(e.Seen, 10)
	}
	return fmt.Sprintf("%v: lock %s has been passed on from %d to %s: acquire it anew", ErrStale, quote.Text(e.Name), e.Token, newer)
}

// Unwrap makes it an ErrStale.
func (e *StaleError) Unwrap() error { return ErrStale }

func validToken(name string, token int64) error {
	if token > 0 {
		return nil
	}
	return fmt.Errorf("%w: the token of lock %s: %d: want what Token of a hold returns, which is larger than 0", ErrInvalid, quote.Text(name), token)
}

// TokenHeader is the header that says under which token a request is made: a decimal number.
const TokenHeader = "Fencing-Token"

// SetHeader sets TokenHeader.
func SetHeader(h http.Header, token int64) { h.Set(TokenHeader, strconv.FormatInt(token, 10)) }

// Token reads TokenHeader: for a handler that checks by itself, with a Table, in the transaction
// in which it writes. The error is ErrInvalid.
func Token(r *http.Request) (int64, error) {
	values := r.Header.Values(TokenHeader)
	if len(values) == 0 {
		return 0, fmt.Errorf("%w: %s has no header %s: send the token of the hold that it is made under", ErrInvalid, about(r), TokenHeader)
	}
	// ParseUint takes digits only; ParseInt would take a sign, too. Of two values nobody knows which is meant.
	token, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || token == 0 || len(values) > 1 {
		return 0, fmt.Errorf("%w: %s: the header %s is %s: send one number larger than 0", ErrInvalid, about(r), TokenHeader, quote.Joined(values, 3))
	}
	return int64(token), nil
}

// about is a request's method and path, for people.
func about(r *http.Request) string { return quote.Word(r.Method) + " " + quote.Word(r.URL.Path) }

// Store remembers the largest token of each lock's name: Memory or SQL.
type Store interface {
	// Check accepts a token that is not smaller than any accepted before, and remembers it, or
	// returns ErrStale. Of concurrent calls one is first.
	Check(ctx context.Context, name string, token int64) error
}

// Memory is a Store in this process. The zero value is ready; its methods may be called from any
// goroutine. It forgets everything when the process ends: the first token afterwards is accepted,
// however old. Where a write can be late by as much as a restart takes, use SQL. It never forgets
// a name before that.
type Memory struct {
	mu   sync.Mutex
	seen map[string]int64
}

// Check implements Store.
func (m *Memory) Check(_ context.Context, name string, token int64) error {
	if err := validToken(name, token); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen := m.seen[name]; token < seen {
		return &StaleError{Name: name, Token: token, Seen: seen}
	}
	if m.seen == nil {
		m.seen = make(map[string]int64)
	}
	m.seen[name] = token
	return nil
}

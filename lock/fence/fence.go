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
	// ErrStale: a newer token was accepted, so the holder with this one has lost the lock. The error is
	// a *StaleError. Do not try again with this token: acquire the lock again.
	ErrStale = errors.New("fence: stale token")
	// ErrInvalid: the caller's mistake: the token is not one, or the name of the Table. Nothing was sent.
	ErrInvalid = errors.New("fence: invalid argument")
)

// StaleError is the error for a stale token. errors.Is finds ErrStale in it.
type StaleError struct {
	Name  string // of the lock
	Token int64  // the stale one
	Seen  int64  // the newer one that was accepted before; 0: not known
}

func (e *StaleError) Error() string {
	newer := "a newer one"
	if e.Seen != 0 {
		newer = strconv.FormatInt(e.Seen, 10)
	}
	return fmt.Sprintf("%v: lock %s has been passed on from %d to %s: acquire it again", ErrStale, quote.Text(e.Name), e.Token, newer)
}

// Unwrap returns ErrStale.
func (e *StaleError) Unwrap() error { return ErrStale }

func validToken(name string, token int64) error {
	if token > 0 {
		return nil
	}
	return fmt.Errorf("%w: the token of lock %s: %d: want what Token of a hold returns, which is larger than 0", ErrInvalid, quote.Text(name), token)
}

// TokenHeader is the header of a request with the token of its holder, a decimal number.
const TokenHeader = "Fencing-Token"

// SetToken sets TokenHeader.
func SetToken(h http.Header, token int64) { h.Set(TokenHeader, strconv.FormatInt(token, 10)) }

// Token reads TokenHeader. It is for a handler that checks the token with a Table, in the transaction
// in which it writes. The error is ErrInvalid.
func Token(r *http.Request) (int64, error) {
	values := r.Header.Values(TokenHeader)
	if len(values) == 0 {
		return 0, fmt.Errorf("%w: %s has no header %s: send the token of the hold under which it is made", ErrInvalid, about(r), TokenHeader)
	}
	// ParseUint takes digits only; ParseInt would take a sign, too. Of two values it is not clear which one is meant.
	token, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || token == 0 || len(values) > 1 {
		return 0, fmt.Errorf("%w: %s: the header %s is %s: send one number larger than 0", ErrInvalid, about(r), TokenHeader, quote.Joined(values, 3))
	}
	return int64(token), nil
}

// about is a request's method and path, for people.
func about(r *http.Request) string { return quote.Word(r.Method) + " " + quote.Word(r.URL.Path) }

// Store remembers the largest token of each lock's name: Memory or TableStore.
type Store interface {
	// Check accepts and remembers a token that is not smaller than any accepted before. Otherwise it
	// returns ErrStale. Concurrent calls take effect one after the other.
	Check(ctx context.Context, name string, token int64) error
}

// Memory is a Store in this process. The zero value is ready; its methods may be called from any
// goroutine. It forgets everything when the process ends, and no name before that. After a restart the
// first token is accepted, however old: if a write can be as late as a restart takes, use TableStore.
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

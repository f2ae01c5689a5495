package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Sentinels for errors.Is.
var (
	// ErrInvalid: an argument is wrong; nothing was sent. The prefix contains a NUL byte, which etcd's
	// ranges give a meaning of its own; or an option is out of range; or the client's Watcher is not
	// clientv3's own, as after namespace.NewWatcher: use the plain client, and the whole prefix.
	ErrInvalid = errors.New("mirror: invalid argument")
	// ErrDenied: etcd refuses the client's user the prefix. Open returns it at once. A mirror
	// whose permission is taken away later is stale with this cause, and asks again from time
	// to time.
	ErrDenied = errors.New("mirror: permission denied")
	// ErrSlow: a reader of every transaction fell behind by more than its buffer. Call Changes
	// again, From the Snapshot of the last batch, to go on without a gap.
	ErrSlow = errors.New("mirror: reader too slow")
	// ErrClosed: the mirror, or the client below it, was closed.
	ErrClosed = errors.New("mirror: closed")
	// ErrUnconfirmed is why a copy is stale when nothing worse is known: etcd has not confirmed
	// it for too long.
	ErrUnconfirmed = errors.New("mirror: not confirmed")
	// ErrGap is why a copy is stale that is being read again. The error says what for.
	ErrGap = errors.New("mirror: the watch cannot be continued")
)

// Options of Open. The zero value and nil are the defaults.
type Options struct {
	// ConfirmEvery is how often the copy is proven complete, by one small linearizable read
	// and a progress request on the watch. Default 2 s, at least 10 ms.
	ConfirmEvery time.Duration

	// WatchTimeout is how long a watch may owe events, and deliver none, before another one, on the
	// next member, takes its place. It doubles while that does not help, up to eight times its
	// value, or ten times what the last reading of the prefix took, if that is longer.
	// Default 500 ms, at least 10 ms.
	//
	// A copy that was not confirmed for 2 × ConfirmEvery + WatchTimeout is stale.
	WatchTimeout time.Duration

	// RangeEnd makes the mirror a copy of a range instead of a prefix: the keys from Open's prefix on
	// that sort before RangeEnd, as etcd's ranges are. For one key it is the key and a NUL byte; a NUL
	// byte alone means every key from the prefix on. Default none: the prefix.
	RangeEnd string

	// Logger gets a line when the mirror turns stale or fresh, when it reads again and when
	// it replaces a silent watch. Nil is silent.
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"ConfirmEvery", &opts.ConfirmEvery, 2 * time.Second},
		{"WatchTimeout", &opts.WatchTimeout, 500 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
		if *d.value < 10*time.Millisecond {
			return opts, fmt.Errorf("%w: %s is %v: want 10ms or more, or 0 for %v", ErrInvalid, d.name, *d.value, d.unset)
		}
	}
	return opts, nil
}

// staleAfter is how long a copy counts as fresh without being confirmed.
func (o *Options) staleAfter() time.Duration { return 2*o.ConfirmEvery + o.WatchTimeout }

// allAfter is etcd's way to say: no end.
const allAfter = "\x00"

// checkTarget finds what cannot be mirrored.
func checkTarget(cli *clientv3.Client, prefix, rangeEnd string) error {
	if strings.ContainsRune(prefix, 0) {
		return fmt.Errorf("%w: prefix %q contains a NUL byte", ErrInvalid, prefix)
	}
	if rangeEnd != "" && rangeEnd != allAfter && rangeEnd <= prefix {
		return fmt.Errorf("%w: no key is between %q and the RangeEnd %q", ErrInvalid, prefix, rangeEnd)
	}
	// Reads and the watch go past the client's KV and Watcher (load.go, stream.go): they would
	// not see its namespace.
	own := cli.Watcher
	if w, ok := own.(ask.Watcher); ok { // of client.Dial
		own = w.Watcher
	}
	if got, want := reflect.TypeOf(own), reflect.TypeOf(clientv3.NewWatcher(cli)); got != want {
		return fmt.Errorf("%w: the client's Watcher is a %v: use the plain client, and the whole prefix", ErrInvalid, got)
	}
	return nil
}

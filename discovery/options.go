package discovery

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/etcdkit/etcdkit/registry"
)

// ErrInvalid: a name or an option is not valid. Nothing was sent. It is registry.ErrInvalid.
var ErrInvalid = registry.ErrInvalid

// Options of Open, List and Watch. nil and the zero value are the defaults.
type Options struct {
	// Prefix is where services are. Default registry.DefaultPrefix, "/services/".
	Prefix string
	// Policy is how Pick chooses. Default Weighted.
	Policy Policy
	// Zone is where this process runs: Pick prefers instances of the same zone, as long as they
	// are enough. See Pick. Default none; one that no instance names has no effect.
	Zone string
	// OnlyServing has Pick and PickFor return ErrNone when no instance takes requests. By default
	// they then choose one that is critical, in maintenance or draining, as better than none.
	OnlyServing bool
	// Decode reads an instance from its key below prefix and its value, for records in a format
	// of your own. Its Service and ID are then those of the key. Default registry.Decode, which
	// Decode can call for the rest. It must not block: it is called while a list is made.
	Decode func(prefix, key, value string) (registry.Instance, error)
	// KeepExpired is for how long instances stay listed, as Expired, when most of a service
	// vanish at once. Default one minute; less than 0 never keeps any. See Expired.
	KeepExpired time.Duration
	// Dir is a folder for the last good list of each service, made if it is missing: with it
	// Open succeeds while etcd is away. Each etcd cluster needs one of its own: nothing in a file
	// tells from which one it is. Default none. See Open.
	Dir string
	// Logger gets one line when a view becomes stale or fresh, when instances are kept, for
	// each value that is not an instance, when an instance is avoided and used again, and when none
	// is left that does not fail. nil is silent.
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var set Options
	if o != nil {
		set = *o
	}
	if set.Prefix == "" {
		set.Prefix = registry.DefaultPrefix
	}
	if set.KeepExpired == 0 {
		set.KeepExpired = time.Minute
	}
	if set.Policy < Weighted || set.Policy > LeastPending {
		return set, fmt.Errorf("%w: policy %d: want Weighted, RoundRobin or LeastPending", ErrInvalid, set.Policy)
	}
	return set, nil
}

package discovery

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/etcdkit/etcdkit/registry"
)

// ErrInvalid: a name or an option is not valid. Nothing was sent. It is registry.ErrInvalid.
var ErrInvalid = registry.ErrInvalid

// Options of Open, List, Watch and Services. nil and the zero value are the defaults. List and Services
// use some of them, as they say.
type Options struct {
	// Prefix is where services are. Default registry.DefaultPrefix, "/services/".
	Prefix string
	// Policy is how Pick chooses. Default Weighted.
	Policy Policy
	// Zone is where this process runs: Pick prefers instances of the same zone, as long as they
	// are enough. See Pick. Default none. A zone without instances has no effect.
	Zone string
	// OnlyServing makes Pick and PickFor return ErrNone when no instance takes requests. By default
	// they then choose one that is critical, in maintenance or draining, as that is better than none.
	OnlyServing bool
	// Decode decodes an instance, for records in a format of your own: key is below prefix. The
	// Service and ID of the key replace what it returns. Default registry.Decode, which Decode can
	// call for other records. It must not block, as it is called while a list is made.
	Decode func(prefix, key, value string) (registry.Instance, error)
	// KeepExpired is for how long instances stay listed, as Expired, when most of a service
	// vanish at the same time. Default one minute; less than 0 keeps none. See Expired.
	KeepExpired time.Duration
	// Dir is a folder for the last good list of each service, created if it is missing: with it
	// Open succeeds while etcd is away. Each etcd cluster needs a folder of its own, as a file does
	// not say which cluster it is from. Default none. See Open.
	Dir string
	// Logger gets one line when a view becomes stale or fresh, when instances are kept, for each
	// value that is not an instance, when an instance is avoided and when it is used again, and when
	// all instances fail. nil is silent.
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

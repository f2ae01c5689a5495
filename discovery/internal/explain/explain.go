// Package explain says why a service has no instance for a request. gRPC's resolver and HTTP's
// transport say it in the same words.
package explain

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// ErrUnused, reported to a View, says nothing about an instance: it was sent no request, or the caller
// gave the request up.
var ErrUnused = fmt.Errorf("not used: %w", context.Canceled)

// Empty says that none of the View's instances can be used, and how old its list is. Those that are
// registered do not do what is required, such as "takes requests".
func Empty(v *discovery.View, required string) string {
	s, service := v.State(), quote.Text(v.Service())
	text := fmt.Sprintf("no instance of %s is registered", service)
	switch n := len(v.Instances()); {
	case n > 0:
		text = fmt.Sprintf("none of the instances of %s (%d) %s", service, n, required)
	case len(s.Bad) > 0:
		text += fmt.Sprintf(" (values that are not instances: %d)", len(s.Bad))
	}
	if s.Fresh {
		return text + ", as etcd confirms"
	}
	return fmt.Sprintf("%s, as of %s; etcd has not been reached since then: %s", text, s.Confirmed.Format(time.DateTime), errtext.Text(s.Cause))
}

// AllExpired says that all instances of the View's list have expired, if that is so.
func AllExpired(v *discovery.View) (text string, ok bool) {
	all := v.Instances()
	for _, i := range all {
		if i.Status != discovery.Expired {
			return "", false
		}
	}
	return fmt.Sprintf("no instance of %s is registered any more; %d that expired together stay listed for a while, and do not answer",
		quote.Text(v.Service()), len(all)), len(all) > 0
}

// ClientClosed says that the etcd client was closed, and what uses it.
func ClientClosed(user string) string {
	return "the etcd client was closed: keep it open for as long as " + user + " is used"
}

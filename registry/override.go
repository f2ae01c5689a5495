package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Override is a status that an operator has set for an instance of another process. It holds until it is
// taken back: the Registrar that keeps the instance writes that status, whatever its checks and its own
// Status say, also when it registers the instance again and when the process is restarted. An instance
// that leaves ends a Draining override, which has done its work then; Maintenance stays.
type Override struct {
	// Status is Maintenance or Draining.
	Status Status `json:"status"`
	// Reason is for people, 400 bytes at most. It becomes the instance's Reason.
	Reason string `json:"reason,omitempty"`
	// By says who has set it, as user@host, 200 bytes at most. It proves nothing.
	By string `json:"by,omitempty"`
	// Since is when it was set, by the clock of the operator's machine: for people. Zero: now.
	Since time.Time `json:"since,omitzero"`
}

const (
	maxOverrideReason = 400
	maxOverrideBy     = 200
	// overridesSegment stands in place of a service's name. Below it are a service and an ID, so no reader of a
	// service, and none of DefaultPrefix + SERVICE, sees these keys.
	overridesSegment = ".overrides"
)

// overridesPrefix is the prefix of the keys of a service's overrides.
func overridesPrefix(prefix, service string) string {
	return prefix + overridesSegment + "/" + service + "/"
}

// Validate checks what is written. Its errors are ErrInvalid.
func (o *Override) Validate() error {
	if o.Status != Maintenance && o.Status != Draining {
		return fmt.Errorf("%w: override: status %s: want maintenance or draining", ErrInvalid, quote.Text(string(o.Status)))
	}
	for _, t := range []struct {
		what, text string
		most       int
	}{{"reason", o.Reason, maxOverrideReason}, {"by", o.By, maxOverrideBy}} {
		if len(t.text) > t.most {
			return fmt.Errorf("%w: override: %s has %d bytes: want at most %d", ErrInvalid, t.what, len(t.text), t.most)
		}
		if err := validText("override: "+t.what, t.text); err != nil {
			return err
		}
	}
	return nil
}

// encodeOverride is the value of an override in etcd.
func encodeOverride(o Override) (string, error) {
	o.Since = o.Since.UTC().Truncate(time.Second)
	b, err := json.Marshal(o)
	if err != nil {
		return "", errtext.Errorf("%w: override: %w", ErrInvalid, err)
	}
	return string(b), nil
}

// decodeOverride reads what encodeOverride wrote. Any client may have written it.
func decodeOverride(value string) (Override, error) {
	var o Override
	if len(value) > maxValue {
		return o, fmt.Errorf("%w: an override of %d bytes", ErrValue, len(value))
	}
	err := json.Unmarshal([]byte(value), &o)
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		return Override{}, errtext.Errorf("%w: override: %w", ErrValue, err)
	}
	return o, nil
}

// applyTo gives an instance the override's status. One that is draining because its process leaves stays so.
func (o *Override) applyTo(i *Instance) {
	if i.Status != Draining {
		i.Status, i.Reason = o.Status, o.Reason
	}
}

// shown is the instance as consumers see it: with what its checks found, and with an operator's override.
func (e *entry) shown() Instance {
	i := e.withChecks()
	if e.override != nil {
		e.override.applyTo(&i)
	}
	return i
}

// setOverride has an entry show an override, or none, and reports whether that is a change.
func (e *entry) setOverride(o *Override, revision int64) (changed bool) {
	was := e.override
	e.override, e.overrideRevision = o, revision
	if o == nil && was == nil || o != nil && was != nil && *o == *was {
		return false
	}
	e.encode()
	e.notify()
	return true
}

package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unique"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// ErrValue: a value in etcd is not an instance.
var ErrValue = errors.New("registry: not an instance")

// value is the value in etcd: the format of etcd's own naming resolver (client/v3/naming), so that gRPC
// clients which use that find these services. Op is always 0, "add". That
// resolver, and versions of this package that do not know Process, skip it.
type value struct {
	Op       uint8
	Addr     string
	Metadata *metadata `json:",omitempty"`
	Process  string    `json:",omitempty"`
}

type metadata struct {
	Version string            `json:"version,omitempty"`
	Weight  int               `json:"weight,omitempty"` // absent: 1
	Zone    string            `json:"zone,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Status  Status            `json:"status,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Checks  []health.Result   `json:"checks,omitempty"`
	Host    string            `json:"host,omitempty"`
	PID     int               `json:"pid,omitempty"`
	More    map[string]string `json:"metadata,omitempty"`
}

// encodeInRoom is Encode, without the reason where that has no room, as an operator's may: a status always has.
func (i Instance) encodeInRoom() (string, error) {
	value, err := i.Encode()
	if err != nil {
		i.Reason = ""
		value, err = i.Encode()
	}
	return value, err
}

// Encode is the value of the instance in etcd. Its errors are ErrInvalid.
func (i *Instance) Encode() (string, error) {
	if err := i.Validate(); err != nil {
		return "", err
	}
	if i.Raw != "" {
		return i.Raw, nil
	}
	v := value{Addr: i.Addr, Metadata: &metadata{
		Version: i.Version, Weight: max(1, i.Weight), Zone: i.Zone, Tags: i.Tags, Status: cmp.Or(i.Status, Passing), Reason: i.Reason,
		Checks: i.Checks, Host: i.Host, PID: i.PID, More: i.Metadata,
	}}
	if i.process != nil {
		v.Process = i.process.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", errtext.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b) > maxValue {
		return "", fmt.Errorf("%w: the value of %s/%s has %d bytes: want at most %d", ErrInvalid, i.Service, i.ID, len(b), maxValue)
	}
	return string(b), nil
}

// Decode reads an instance from its key below prefix and its value. It understands what Encode
// writes, a bare host:port, and what etcd's naming package, kitex, kratos and go-micro write, and
// {"host":…,"port":…}; of several endpoints it takes the first one, and the others are in Metadata
// as "endpoint.1" and so on. Any other text becomes Raw, except a JSON object without an address. Its
// errors are ErrValue, also for a value of more than 64 KiB.
func Decode(prefix, key, val string) (Instance, error) {
	service, id, ok := splitKey(prefix, key)
	if !ok {
		return Instance{}, fmt.Errorf("%w: key %s: want %sSERVICE/ID", ErrValue, quote.Text(key), prefix)
	}
	i := Instance{Service: service, ID: id, Weight: 1, Status: Passing}
	err := i.read(val)
	if err == nil {
		err = i.Validate()
	}
	if err != nil {
		return Instance{}, errtext.Errorf("%w: value of %s: %w", ErrValue, quote.Text(key), err)
	}
	for _, often := range []*string{&i.Version, &i.Zone, &i.Host, (*string)(&i.Status)} {
		*often = unique.Make(*often).Value() // one copy for all instances that have it
	}
	for n := range i.Checks {
		c := &i.Checks[n]
		c.Name, c.Status, c.At = unique.Make(c.Name).Value(), unique.Make(c.Status).Value(), c.At.UTC()
	}
	return i, nil
}

// keyOf is the key of an instance, or without an id the prefix of its service's keys.
func keyOf(prefix, service, id string) string { return prefix + service + "/" + id }

// splitKey reads what keyOf wrote.
func splitKey(prefix, key string) (service, id string, ok bool) {
	rest, below := strings.CutPrefix(key, prefix)
	service, id, ok = strings.Cut(rest, "/")
	return service, id, ok && below && service != "" && id != "" && !strings.Contains(id, "/")
}

// read takes the fields from a value.
func (i *Instance) read(val string) error {
	if len(val) > maxValue {
		return fmt.Errorf("it has %d bytes: want at most %d", len(val), maxValue)
	}
	text := strings.TrimSpace(val) // files and shells end a line
	switch {
	case text == "":
		return errors.New("it is empty")
	case !strings.HasPrefix(text, "{"):
		if validAddr(text) == nil {
			i.Addr = text
		} else {
			i.Raw = val
		}
		return nil
	case i.readOurs(val):
		return nil
	}
	if err := i.readOther(text); err != nil {
		return errors.New(quote.Head(err.Error(), maxCause)) // it can contain a part of the value
	}
	return nil
}

// maxCause is how many bytes of an error's text are kept where it can be as long as the value.
const maxCause = 200

// readOurs reads what Encode writes, and reports whether it was that.
func (i *Instance) readOurs(val string) bool {
	var v value
	d := json.NewDecoder(strings.NewReader(val))
	d.DisallowUnknownFields()
	if d.Decode(&v) != nil || v.Metadata == nil {
		return false
	}
	if _, err := d.Token(); err != io.EOF { // more than one value
		return false
	}
	m := v.Metadata
	if m.Weight < 1 || m.Weight > math.MaxInt32 || !m.Status.known() || validChecks(m.Checks) != nil {
		return false
	}
	i.Addr, i.Weight, i.Status, i.Version, i.Zone, i.Reason = v.Addr, m.Weight, m.Status, m.Version, m.Zone, m.Reason
	i.Host, i.PID = m.Host, m.PID
	if len(m.Tags) > 0 {
		i.Tags = m.Tags
	}
	if len(m.More) > 0 {
		i.Metadata = m.More
	}
	if len(m.Checks) > 0 {
		i.Checks = m.Checks
	}
	return true
}

// readMetadata takes what it can: other libraries write anything there, and the address does not depend
// on it. What has no field here, or another type than the field, becomes text in Metadata.
func (i *Instance) readMetadata(raw json.RawMessage) {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		if text := plain(raw); text != "" {
			i.Metadata = map[string]string{"metadata": text}
		}
		return
	}
	yes := func(string) bool { return true }
	take(all, "version", &i.Version, yes)
	take(all, "zone", &i.Zone, yes)
	take(all, "reason", &i.Reason, yes)
	take(all, "host", &i.Host, yes)
	take(all, "pid", &i.PID, func(int) bool { return true })
	take(all, "tags", &i.Tags, func(t []string) bool { return len(t) > 0 })
	take(all, "weight", &i.Weight, func(w int) bool { return w > 0 && w <= math.MaxInt32 })
	take(all, "status", &i.Status, Status.known)
	take(all, "checks", &i.Checks, func(c []health.Result) bool { return len(c) > 0 && validChecks(c) == nil })
	take(all, "metadata", &i.Metadata, func(m map[string]string) bool { return len(m) > 0 })
	for name, raw := range all {
		if text := plain(raw); text != "" {
			i.set(name, text)
		}
	}
}

// take moves a value to its field, if it has that field's type and is good.
func take[T any](all map[string]json.RawMessage, name string, to *T, good func(T) bool) {
	var v T
	if raw, ok := all[name]; ok && json.Unmarshal(raw, &v) == nil && good(v) {
		*to = v
		delete(all, name)
	}
}

// plain is a JSON value as text, a string without its quotes. null, [] and {} are empty.
func plain(raw json.RawMessage) string {
	var text string
	if s := string(raw); s == "null" || s == "[]" || s == "{}" {
		return ""
	}
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

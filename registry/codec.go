package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrValue: a value in etcd is not an instance.
var ErrValue = errors.New("registry: not an instance")

// value is what stands in etcd: the format of etcd's own naming resolver (client/v3/naming), so
// that gRPC clients which use it find our services as they are. Op is always 0, "add".
type value struct {
	Op       uint8
	Addr     string
	Metadata *metadata `json:",omitempty"`
}

type metadata struct {
	Version string            `json:"version,omitempty"`
	Weight  int               `json:"weight,omitempty"` // absent: 1
	Zone    string            `json:"zone,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Status  Status            `json:"status,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Host    string            `json:"host,omitempty"`
	PID     int               `json:"pid,omitempty"`
	More    map[string]string `json:"metadata,omitempty"`
}

// Encode is the value of the instance in etcd. Its errors are ErrInvalid.
func (i *Instance) Encode() (string, error) {
	if err := i.Validate(); err != nil {
		return "", err
	}
	if i.Raw != "" {
		return i.Raw, nil
	}
	status := i.Status
	if status == "" {
		status = Passing
	}
	b, err := json.Marshal(value{Addr: i.Addr, Metadata: &metadata{
		Version: i.Version, Weight: max(1, i.Weight), Zone: i.Zone, Tags: i.Tags, Status: status, Reason: i.Reason,
		Host: i.Host, PID: i.PID, More: i.Metadata,
	}})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b) > maxValue {
		return "", fmt.Errorf("%w: the value of %s/%s has %d bytes: want at most %d", ErrInvalid, i.Service, i.ID, len(b), maxValue)
	}
	return string(b), nil
}

// Decode reads an instance from its key below prefix and its value. It understands what Encode
// writes, what etcd's naming package writes, a bare host:port, and any other text, which becomes
// Raw. Its errors are ErrValue.
func Decode(prefix, key, val string) (Instance, error) {
	service, id, ok := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	if !ok || service == "" || id == "" || strings.Contains(id, "/") || !strings.HasPrefix(key, prefix) {
		return Instance{}, fmt.Errorf("%w: key %q: want %sSERVICE/ID", ErrValue, key, prefix)
	}
	i := Instance{Service: service, ID: id, Weight: 1, Status: Passing}
	err := i.read(val)
	if err == nil {
		err = i.Validate()
	}
	if err != nil {
		return Instance{}, fmt.Errorf("%w: value of %q: %w", ErrValue, key, err)
	}
	return i, nil
}

// read takes the fields from a value.
func (i *Instance) read(val string) error {
	if !strings.HasPrefix(val, "{") {
		if strings.TrimSpace(val) == "" {
			return errors.New("it is empty")
		}
		if validAddr(val) == nil {
			i.Addr = val
		} else {
			i.Raw = val
		}
		return nil
	}
	var v value
	if err := json.Unmarshal([]byte(val), &v); err != nil {
		return err
	}
	i.Addr = v.Addr
	m := v.Metadata
	if m == nil {
		return nil
	}
	i.Version, i.Zone, i.Reason, i.Host, i.PID = m.Version, m.Zone, m.Reason, m.Host, m.PID
	if len(m.Tags) > 0 {
		i.Tags = m.Tags
	}
	if len(m.More) > 0 {
		i.Metadata = m.More
	}
	if m.Weight != 0 {
		i.Weight = m.Weight
	}
	if m.Status != "" {
		i.Status = m.Status
	}
	return nil
}

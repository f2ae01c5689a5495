package render

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// Pair is a key and its value, as a template sees them.
type Pair struct {
	Key   string `json:"key"`  // in full
	Name  string `json:"name"` // what follows the prefix
	Value string `json:"value"`
}

// Instance is an instance of a service, as a template sees it.
type Instance struct {
	Service string            `json:"service"`
	ID      string            `json:"id"`
	Addr    string            `json:"addr"`
	Host    string            `json:"host"` // of Addr
	Port    int               `json:"port"` // of Addr
	Zone    string            `json:"zone"`
	Version string            `json:"version"`
	Weight  int               `json:"weight"` // 1 at least
	Tags    []string          `json:"tags"`
	Status  string            `json:"status"`
	Meta    map[string]string `json:"meta"`
}

// MissingError says that there is no key of that name. A template that depends on it waits for it.
type MissingError struct{ Key string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no key %s (keyOr gives a default)", quote.Text(e.Key))
}

func (s *sources) key(key string) (string, error) {
	kv, ok, err := s.lookUp(key)
	if err == nil && !ok {
		err = &MissingError{key}
	}
	return kv.Value, err
}

func (s *sources) keyOr(key string, other any) (any, error) {
	kv, ok, err := s.lookUp(key)
	if err != nil || ok {
		return kv.Value, err
	}
	return other, nil
}

func (s *sources) keyExists(key string) (bool, error) {
	_, ok, err := s.lookUp(key)
	return ok, err
}

func (s *sources) lookUp(key string) (mirror.KeyValue, bool, error) {
	if key == "" {
		return mirror.KeyValue{}, false, fmt.Errorf("a key cannot be empty")
	}
	snapshot, err := s.snapshot(key, key+"\x00")
	if err != nil {
		return mirror.KeyValue{}, false, err
	}
	kv, ok := snapshot.Get(key)
	return kv, ok, nil
}

// keys are all keys below a prefix, in their order.
func (s *sources) keys(prefix string) ([]Pair, error) {
	snapshot, err := s.snapshot(prefix, "")
	if err != nil {
		return nil, err
	}
	pairs := make([]Pair, 0, snapshot.Len())
	for kv := range snapshot.All() {
		pairs = append(pairs, Pair{kv.Key, strings.TrimPrefix(kv.Key, prefix), kv.Value})
	}
	return pairs, nil
}

// tree is what is below a prefix as maps within maps, one level for each slash. Where a key has a value and keys
// below it, too, its value is the entry "" of the map.
func (s *sources) tree(prefix string) (map[string]any, error) {
	snapshot, err := s.snapshot(prefix, "")
	if err != nil {
		return nil, err
	}
	root := make(map[string]any)
	for kv := range snapshot.All() {
		at := root
		levels := strings.Split(strings.TrimPrefix(kv.Key, prefix), "/")
		last := len(levels) - 1
		for _, level := range levels[:last] {
			at = below(at, level)
		}
		if deeper, ok := at[levels[last]].(map[string]any); ok {
			deeper[""] = kv.Value
		} else {
			at[levels[last]] = kv.Value
		}
	}
	return root, nil
}

// below is a level of a tree, which is made if it is missing.
func below(at map[string]any, level string) map[string]any {
	switch there := at[level].(type) {
	case map[string]any:
		return there
	case string:
		at[level] = map[string]any{"": there}
	default:
		at[level] = make(map[string]any)
	}
	return at[level].(map[string]any)
}

// service are the instances of a service that take requests, by id; all of them with "any".
func (s *sources) service(name string, which ...string) ([]Instance, error) {
	any := len(which) == 1 && which[0] == "any"
	if len(which) > 0 && !any {
		return nil, fmt.Errorf(`service %s: after the name only "any" may follow`, quote.Text(name))
	}
	list, err := s.instances(name)
	if err != nil {
		return nil, err
	}
	found := make([]Instance, 0, len(list))
	for _, i := range list {
		host, port, ok := hostPort(i.Addr)
		if !ok || !any && !i.TakesRequests() {
			continue // an address that cannot be dialled might break the file's syntax, too
		}
		found = append(found, Instance{
			i.Service, i.ID, i.Addr, host, port, i.Zone, i.Version, max(i.Weight, 1), i.Tags, string(i.Status), i.Metadata,
		})
	}
	return found, nil
}

// hostPort reads an address that another process has written.
func hostPort(addr string) (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return !strings.ContainsRune(".:-_%", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return "", 0, false
	}
	port, err = strconv.Atoi(text)
	return host, port, err == nil && 0 < port && port < 1<<16
}

// services are the names of all services that have instances.
func (s *sources) services() ([]string, error) {
	snapshot, err := s.snapshot(s.prefix, "")
	if err != nil {
		return nil, err
	}
	names := make([]string, 0)
	for kv := range snapshot.All() {
		name, id, ok := strings.Cut(strings.TrimPrefix(kv.Key, s.prefix), "/")
		if _, err := registry.ServicePrefix("/", name); !ok || id == "" || strings.Contains(id, "/") || err != nil {
			continue
		}
		names = append(names, name)
	}
	return slices.Compact(names), nil // keys come in order
}

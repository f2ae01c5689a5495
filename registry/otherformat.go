package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// otherFormat is a JSON object as other libraries write it. The case of names does not matter.
//
//	etcd's naming   {"Op":0,"Addr":"10.0.0.1:80","Metadata":…}
//	kitex           {"network":"tcp","address":"10.0.0.1:80","weight":10,"tags":{"k":"v"}}
//	kratos          {"id":"a","name":"web","version":"v1","metadata":{…},"endpoints":["grpc://10.0.0.1:80","http://10.0.0.1:81"]}
//	go-micro        {"name":"web","version":"v1","metadata":…,"nodes":[{"id":"a","address":"10.0.0.1:80","metadata":{…}}]}
//	by hand         {"host":"10.0.0.1","port":80}
type otherFormat struct {
	Addr string

	// These can have any type.
	Address, Endpoints, Nodes, Host, IP, Port json.RawMessage
	Version, Weight, Tags, Metadata           json.RawMessage
}

var errNoAddr = errors.New("it is a JSON object without an address (Addr, address, endpoints, nodes, or host and port)")

// readOther reads a JSON object that Encode has not written.
func (i *Instance) readOther(val string) error {
	var f otherFormat
	if err := json.Unmarshal([]byte(val), &f); err != nil {
		return err
	}
	if f.Addr != "" {
		i.Addr = f.Addr
		i.readMetadata(f.Metadata)
		return nil
	}
	var endpoints []string
	var nodes []struct {
		Address  string
		Metadata json.RawMessage
	}
	host := cmp.Or(word(f.Host), word(f.IP))
	switch {
	case word(f.Address) != "":
		i.Addr = word(f.Address)
	case json.Unmarshal(f.Endpoints, &endpoints) == nil && len(endpoints) > 0:
		i.Addr = hostPort(endpoints[0])
	case json.Unmarshal(f.Nodes, &nodes) == nil && len(nodes) > 0: // go-micro has a key for each node
		i.Addr = nodes[0].Address
		if len(nodes[0].Metadata) > 0 {
			f.Metadata = nodes[0].Metadata
		}
	case host != "" && len(f.Port) > 0:
		i.Addr = net.JoinHostPort(host, plain(f.Port))
	default:
		return errNoAddr
	}
	i.readMetadata(f.Metadata)
	i.readOtherFields(&f, endpoints)
	return nil
}

// word is a JSON text, or empty.
func word(raw json.RawMessage) (text string) {
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// readOtherFields takes what stands outside the metadata, where that does not have it.
func (i *Instance) readOtherFields(f *otherFormat, endpoints []string) {
	var weight int
	if json.Unmarshal(f.Weight, &weight) == nil && i.Weight == 1 && weight > 0 && weight <= math.MaxInt32 {
		i.Weight = weight
	}
	if i.Version == "" {
		i.Version = plain(f.Version)
	}
	var list []string
	var pairs map[string]string
	switch {
	case json.Unmarshal(f.Tags, &list) == nil && len(list) > 0 && len(i.Tags) == 0:
		i.Tags = list
	case json.Unmarshal(f.Tags, &pairs) == nil: // kitex
		for k, v := range pairs {
			i.set(k, v)
		}
	}
	for n, e := range endpoints {
		if n > 0 { // a consumer may want another protocol than the first one's
			i.set("endpoint."+strconv.Itoa(n), e)
		}
	}
}

// set adds metadata where there is none of that name.
func (i *Instance) set(name, text string) {
	if i.Metadata == nil {
		i.Metadata = make(map[string]string)
	}
	if _, taken := i.Metadata[name]; !taken {
		i.Metadata[name] = text
	}
}

// hostPort is the address in a URL, or the text itself.
func hostPort(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		return endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return u.Host
}

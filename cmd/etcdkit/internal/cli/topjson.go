package cli

import (
	"cmp"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/top"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/registry"
)

// topJSON is what top prints in JSON.
type topJSON struct {
	Time      time.Time        `json:"time"`
	Endpoints []string         `json:"endpoints"`
	Cluster   clusterJSON      `json:"cluster"`
	Rates     topRatesJSON     `json:"rates"`
	Locks     []lockJSON       `json:"locks"`
	Elections []electionJSON   `json:"elections"`
	Services  []topServiceJSON `json:"services"`
	Leases    []leaseJSON      `json:"leases"`
	// Error says why locks, elections, services and leases could not be read.
	Error string `json:"error"`
}

// topRatesJSON are per second; null where they are not known.
type topRatesJSON struct {
	Changes  *float64 `json:"changes_per_second"`
	Requests *float64 `json:"requests_per_second"`
	Events   *float64 `json:"events_per_second"`
}

type topServiceJSON struct {
	Prefix    string            `json:"prefix"`
	Service   string            `json:"service"`
	Instances []topInstanceJSON `json:"instances"`
}

type topInstanceJSON struct {
	ID      string     `json:"id"`
	Address string     `json:"address"`
	Status  string     `json:"status"`
	Key     keys.Bytes `json:"key"`
	Lease   string     `json:"lease"`
}

func topAsJSON(s top.State) topJSON {
	j := topJSON{
		Time: s.Cluster.At, Endpoints: s.Endpoints, Cluster: clusterOf(s.Cluster.Value),
		Locks: []lockJSON{}, Elections: []electionJSON{}, Services: []topServiceJSON{}, Leases: []leaseJSON{},
	}
	if r := s.Rates; r.Known {
		j.Rates = topRatesJSON{knownRate(r.Revisions), knownRate(r.Requests), knownRate(r.Events)}
	}
	if s.Inventory.Err != nil {
		j.Error = errtext.Text(s.Inventory.Err)
	}
	if inv := s.Inventory.Value; inv != nil {
		for _, q := range inv.Locks {
			j.Locks = append(j.Locks, newLockJSON(q))
		}
		for _, q := range inv.Elections {
			j.Elections = append(j.Elections, newElectionJSON(q))
		}
		for _, one := range inv.Services {
			j.Services = append(j.Services, topServiceAsJSON(one))
		}
		for _, l := range inv.Leases {
			j.Leases = append(j.Leases, leaseAsJSON(l))
		}
	}
	return j
}

func knownRate(rate float64) *float64 {
	if rate < 0 {
		return nil
	}
	return &rate
}

func topServiceAsJSON(s *inventory.Service) topServiceJSON {
	j := topServiceJSON{Prefix: s.Prefix, Service: s.Name, Instances: []topInstanceJSON{}}
	for _, i := range s.Instances {
		j.Instances = append(j.Instances, topInstanceJSON{
			ID: i.ID, Address: i.Addr, Status: string(cmp.Or(i.Status, registry.Passing)), Key: keys.Bytes(i.Key), Lease: out.Hex(i.Lease),
		})
	}
	return j
}

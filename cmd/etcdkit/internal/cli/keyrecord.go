package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/keys"
)

// onKeys is onCluster for a command whose first argument is a key.
func (a *app) onKeys(cmd *cobra.Command, run func(ctx context.Context, cli *clientv3.Client, args []string) error) *cobra.Command {
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.connected(cmd, f, func(cli *clientv3.Client) error {
			return keysError(run(cmd.Context(), cli, args))
		})
	}
	return cmd
}

// keysError gives an error of package keys, or of a request for keys, its exit code.
func keysError(err error) error {
	switch {
	case errors.Is(err, keys.ErrInvalid):
		return &usageError{err}
	case errors.Is(err, keys.ErrNotFound), errors.Is(err, keys.ErrExists):
		return coded(ExitNotFound, err)
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: etcd has no older revisions; etcdkit history KEY shows what it has of a key", err)
	}
	return err
}

// keyJSON is a key as all commands print it.
type keyJSON struct {
	Key            keys.Bytes  `json:"key"`
	Value          *keys.Bytes `json:"value,omitempty"` // absent where it was not read
	CreateRevision int64       `json:"create_revision"`
	ModRevision    int64       `json:"mod_revision"`
	Version        int64       `json:"version"`
	Lease          *string     `json:"lease,omitempty"` // "0": none; absent where it was not read
	// Remaining is a *int64: null without a lease; 0: the lease has ended. It is absent where it was not asked for.
	Remaining any `json:"lease_remaining_seconds,omitempty"`
}

// keyPrinter prints keys.
type keyPrinter struct {
	long     bool // with lease and remaining time
	keysOnly bool // values and leases were not read
	hex      bool

	leases map[clientv3.LeaseID]int64 // of long: the seconds that each has left
}

func (p *keyPrinter) headings() []string {
	h := []string{"KEY"}
	if p.long {
		h = append(h, "VERSION", "CREATED", "MODIFIED")
		if !p.keysOnly {
			h = append(h, "LEASE", "REMAINING")
		}
	}
	if !p.keysOnly {
		h = append(h, "VALUE")
	}
	return h
}

func (p *keyPrinter) record(kv *mvccpb.KeyValue) out.Record {
	r := out.Record{Row: []out.Cell{{Text: p.text(kv.Key)}}, Value: p.bytes(kv.Value), Exact: !p.hex, JSON: p.json(kv)}
	if p.long {
		r.Row = append(r.Row, p.numbers(kv)...)
	}
	if p.keysOnly {
		r.Value, r.Exact = p.bytes(kv.Key), false
	} else {
		r.Row = append(r.Row, out.Cell{Text: p.text(kv.Value)})
	}
	return r
}

// numbers are the cells of long.
func (p *keyPrinter) numbers(kv *mvccpb.KeyValue) []out.Cell {
	cells := []out.Cell{
		{Text: fmt.Sprint(kv.Version), Right: true}, {Text: fmt.Sprint(kv.CreateRevision), Right: true}, {Text: fmt.Sprint(kv.ModRevision), Right: true},
	}
	if p.keysOnly {
		return cells
	}
	lease, remaining := "", ""
	if kv.Lease != 0 {
		lease, remaining = out.Hex(kv.Lease), "?"
		if left, known := p.leases[clientv3.LeaseID(kv.Lease)]; known {
			remaining = fmt.Sprintf("%ds", left)
		}
	}
	return append(cells, out.Cell{Text: lease}, out.Cell{Text: remaining, Right: true})
}

func (p *keyPrinter) json(kv *mvccpb.KeyValue) keyJSON {
	k := keyJSON{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
	if p.keysOnly {
		return k
	}
	value, lease := keys.Bytes(kv.Value), out.Hex(kv.Lease)
	k.Value, k.Lease = &value, &lease
	if p.long {
		var remaining *int64
		if left, known := p.leases[clientv3.LeaseID(kv.Lease)]; known {
			remaining = &left
		}
		k.Remaining = remaining
	}
	return k
}

// text is a key or a value in a table.
func (p *keyPrinter) text(b []byte) string {
	if p.hex {
		return hexText(b)
	}
	return out.Safe(string(b))
}

// bytes are those of -o value.
func (p *keyPrinter) bytes(b []byte) []byte {
	if p.hex {
		return []byte(hexText(b))
	}
	return b
}

// hexText is each byte as etcdctl's --hex prints it.
func hexText(b []byte) string {
	var text strings.Builder
	for _, c := range b {
		fmt.Fprintf(&text, `\x%02x`, c)
	}
	return text.String()
}

// leasesAtOnce is how many leases are asked for at a time: etcd has no request for several.
const leasesAtOnce = 16

// askLeases finds how long the leases of keys last. An error is said once, and what it is about is unknown.
func (p *keyPrinter) askLeases(ctx context.Context, a *app, cli *clientv3.Client, kvs []*mvccpb.KeyValue) {
	if !p.long || p.keysOnly {
		return
	}
	if p.leases == nil {
		p.leases = make(map[clientv3.LeaseID]int64)
	}
	ask := make(map[clientv3.LeaseID]bool)
	for _, kv := range kvs {
		if id := clientv3.LeaseID(kv.Lease); id != 0 {
			if _, known := p.leases[id]; !known {
				ask[id] = true
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var mu sync.Mutex
	var failed error
	var asking sync.WaitGroup
	room := make(chan struct{}, leasesAtOnce)
	for id := range ask {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			resp, err := cli.TimeToLive(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			p.leases[id] = max(resp.TTL, 0) // -1: it has ended
		})
	}
	asking.Wait()
	if failed != nil {
		a.out.Talkf("etcdkit: remaining time of leases: %s", a.oneLine(failed))
	}
}

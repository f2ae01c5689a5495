package cli

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/lease"
)

func newLease(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lease", Short: "leases: which there are, what stands on them, and when they end",
		Long: paragraphs(
			"A lease is a time to live that keys share: unless it is renewed it ends, and its keys are deleted. Locks, leaders and registered services are keys on leases.",
			"The id of a lease is written in hexadecimal digits, as etcdctl and every other command here print it."),
		Example: "  etcdkit lease ls\n  etcdkit lease show 694d98a5e7a1b30c\n  etcdkit lease watch 694d98a5e7a1b30c",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLeaseLs(a), newLeaseShow(a), newLeaseWatch(a), newLeaseGrant(a), newLeaseRevoke(a), newLeaseKeepAlive(a))
	return cmd
}

// checkLeases is the PreRunE of a command whose arguments are ids of leases: a bad one is refused before anything is
// sent.
func checkLeases(_ *cobra.Command, args []string) error {
	for _, text := range args {
		if _, err := leaseID(text); err != nil {
			return err
		}
	}
	return nil
}

const whichLease = "which lease? its id in hexadecimal digits, as etcdkit lease ls prints it"

// leaseID reads the id of a lease.
func leaseID(text string) (clientv3.LeaseID, error) {
	digits := strings.TrimPrefix(strings.ToLower(text), "0x")
	id, err := strconv.ParseInt(digits, 16, 64)
	if err == nil && id > 0 && digits[0] != '+' {
		return clientv3.LeaseID(id), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return 0, usagef("lease %q is decimal, and ids are in hexadecimal digits: this one is %s", text, out.Hex(n))
	}
	return 0, usagef("lease %q: want its id, up to 16 hexadecimal digits, as etcdkit lease ls prints it", text)
}

// noLease adds to an error that there is no lease of that id what its text may mean instead, and the exit code.
func noLease(text string, err error) error {
	if !errors.Is(err, lease.ErrNotFound) {
		return err
	}
	if n, decimal := strconv.ParseInt(text, 10, 64); decimal == nil && len(text) > 9 {
		return notFoundf("%w (ids are in hexadecimal digits; decimal %s would be %s)", err, text, out.Hex(n))
	}
	return coded(ExitNotFound, err)
}

// leaseJSON is a lease as commands print it.
type leaseJSON struct {
	Lease            string         `json:"lease"`
	GrantedSeconds   float64        `json:"granted_seconds"`
	RemainingSeconds float64        `json:"remaining_seconds"`
	KeyCount         *int           `json:"key_count"` // null: the user may not read all of them
	Keys             []leaseKeyJSON `json:"keys"`
}

// leaseKeyJSON is a key on a lease.
type leaseKeyJSON struct {
	Key            keys.Bytes `json:"key"`
	Kind           string     `json:"kind"` // lock, candidate, instance or plain
	Name           keys.Bytes `json:"name"` // of the lock, the election or the service
	Status         string     `json:"status"`
	Holder         keys.Bytes `json:"holder"` // what an entry says of its process, or a candidate's value, or an instance's id
	CreateRevision int64      `json:"create_revision"`
	ModRevision    int64      `json:"mod_revision"`
	Version        int64      `json:"version"`
	ValueSize      int        `json:"value_size"`
}

func leaseAsJSON(l *inventory.Lease) leaseJSON {
	j := leaseJSON{
		Lease: out.Hex(l.ID), GrantedSeconds: l.Granted.Seconds(), RemainingSeconds: l.Remaining.Seconds(),
		Keys: make([]leaseKeyJSON, 0, len(l.Keys)),
	}
	if l.KeyCount >= 0 {
		j.KeyCount = &l.KeyCount
	}
	for _, k := range l.Keys {
		e := leaseKeyJSON{
			Key: keys.Bytes(k.Key), Kind: string(k.Kind),
			CreateRevision: k.CreateRevision, ModRevision: k.ModRevision, Version: k.Version, ValueSize: k.ValueSize,
		}
		switch {
		case k.Entry != nil:
			e.Name, e.Status, e.Holder = keys.Bytes(k.Entry.Name), string(k.Entry.Status), keys.Bytes(k.Entry.Process())
		case k.Candidate != nil:
			e.Name, e.Status, e.Holder = keys.Bytes(k.Candidate.Name), string(k.Candidate.Status), keys.Bytes(k.Candidate.Value)
		case k.Instance != nil:
			e.Name, e.Status, e.Holder = keys.Bytes(k.Instance.Service), cmp.Or(string(k.Instance.Status), "passing"), keys.Bytes(k.Instance.ID)
		}
		j.Keys = append(j.Keys, e)
	}
	return j
}

// keyCount is how many keys a lease has, for people.
func keyCount(l *inventory.Lease) string {
	if l.KeyCount < 0 {
		return strconv.Itoa(len(l.Keys)) + "+" // and those that the user may not read
	}
	return strconv.Itoa(l.KeyCount)
}

// onLease says what is on a lease, the first few of it.
func onLease(l *inventory.Lease, few int) string {
	var texts []string
	for i, k := range l.Keys {
		if i == few {
			break
		}
		texts = append(texts, k.String())
	}
	if more := max(l.KeyCount, len(l.Keys)) - len(texts); more > 0 {
		texts = append(texts, "and "+out.Count(more, "more key"))
	}
	return strings.Join(texts, "; ")
}

// wholeSeconds is a time for people: 1h2m3s, in whole seconds.
func wholeSeconds(d time.Duration) string { return d.Truncate(time.Second).String() }

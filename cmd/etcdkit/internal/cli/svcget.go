package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/registry"
)

func newSvcGet(a *app) *cobra.Command {
	var format out.Format
	var prefix string
	var available bool
	cmd := &cobra.Command{
		Use: "get NAME", Short: "a service's instances: address, status, and why", Args: needs("which service? etcdkit svc ls has them", 1, 1),
		Long: paragraphs(
			"Lists the instances of a service. -o value prints their addresses, one a line, without values that are not instances. The exit code is 3 if there is none.",
			"Checks' output is in JSON, and of the worst one in the last column. A key without a lease is permanent: it stays when its process ends. An override is what 'svc maint' or 'svc drain' has set; one whose instance is away waits for it."),
		Example: "  etcdkit svc get web\n  etcdkit svc get web --available -o value | shuf -n 1\n  etcdkit svc get web -o template='{{.id}} {{.address}} {{.status}}'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	cmd.Flags().BoolVar(&available, "available", false, "only instances that take requests")
	return a.onServices(cmd, &prefix, func(ctx context.Context, op *registry.Operator, args []string) error {
		records, err := op.Records(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printInstances(format, available, prefix, args[0], records)
	})
}

// instanceJSON is an instance as svc get prints it.
type instanceJSON struct {
	Service        string             `json:"service"`
	ID             string             `json:"id"`
	Registered     bool               `json:"registered"`
	Available      bool               `json:"available"`
	Address        string             `json:"address"`
	Status         string             `json:"status"`
	Reason         string             `json:"reason"`
	Zone           string             `json:"zone"`
	Weight         int                `json:"weight"`
	Version        string             `json:"version"`
	Tags           []string           `json:"tags"`
	Metadata       map[string]string  `json:"metadata"`
	Checks         []health.Result    `json:"checks"`
	Host           string             `json:"host"`
	PID            int                `json:"pid"`
	Since          *time.Time         `json:"since"`
	AgeSeconds     *float64           `json:"age_seconds"`
	Override       *registry.Override `json:"override"`
	Error          string             `json:"error"`
	Key            string             `json:"key"`
	Lease          string             `json:"lease"`
	CreateRevision int64              `json:"create_revision"`
	ModRevision    int64              `json:"mod_revision"`
}

func jsonOf(r *registry.Record) instanceJSON {
	i := &r.Instance
	j := instanceJSON{
		Service: r.Service, ID: r.ID, Registered: r.Registered(), Available: takesRequests(r), Address: address(i), Status: string(i.Status),
		Reason: i.Reason, Zone: i.Zone, Weight: i.Weight, Version: i.Version, Tags: nonNil(i.Tags), Metadata: i.Metadata, Checks: i.Checks,
		Host: i.Host, PID: i.PID, Override: r.Override, Key: r.Key, Lease: out.Hex(r.Lease), CreateRevision: r.CreateRevision, ModRevision: r.ModRevision,
	}
	if j.Metadata == nil {
		j.Metadata = map[string]string{}
	}
	if j.Checks == nil {
		j.Checks = []health.Result{}
	}
	if r.Err != nil {
		j.Status, j.Error = badStatus, errtext.Text(r.Err)
	}
	if !r.Since.IsZero() {
		since, age := r.Since.UTC(), max(time.Since(r.Since).Seconds(), 0)
		j.Since, j.AgeSeconds = &since, &age
	}
	return j
}

func (a *app) printInstances(format out.Format, availableOnly bool, prefix, service string, records []registry.Record) error {
	list := a.out.Records(format, "ID", "ADDRESS", "STATUS", "ZONE", "WEIGHT", "VERSION", "AGE", "NOTE")
	registered, shown := 0, 0
	for _, r := range records {
		available := takesRequests(&r)
		if r.Registered() {
			registered++
		}
		if availableOnly && !available || format.Is(out.Value) && address(&r.Instance) == "" {
			continue
		}
		if r.Registered() {
			shown++
		}
		if err := list.Add(out.Record{Row: instanceRow(&r), Value: []byte(address(&r.Instance)), JSON: jsonOf(&r)}); err != nil {
			return err
		}
	}
	if err := list.Close(); err != nil {
		return err
	}
	switch {
	case shown > 0:
		return nil
	case registered == 0:
		return notFoundf("no instance of %q is registered below %q", service, prefix)
	}
	return notFoundf("no instance of %q takes requests: of %d, none is passing or warning", service, registered)
}

// instanceRow is a record as a row of the table.
func instanceRow(r *registry.Record) []out.Cell {
	i, status := &r.Instance, string(r.Instance.Status)
	switch {
	case !r.Registered():
		status = "absent"
	case r.Err != nil:
		status = badStatus
	}
	weight, age := "", ""
	if i.Weight != 0 {
		weight = fmt.Sprint(i.Weight)
	}
	if !r.Since.IsZero() {
		age = roundAge(time.Since(r.Since))
	}
	return []out.Cell{
		{Text: out.Safe(r.ID), Colour: out.Bold}, {Text: out.Safe(address(i))}, {Text: status, Colour: instanceColour(r)}, {Text: out.Safe(i.Zone)},
		{Text: weight, Right: true}, {Text: out.Safe(i.Version)}, {Text: age, Right: true}, {Text: out.Safe(recordNote(r))},
	}
}

func instanceColour(r *registry.Record) out.Colour {
	switch {
	case takesRequests(r) && r.Instance.Status == registry.Passing:
		return out.Green
	case r.Err != nil || r.Instance.Status == registry.Critical:
		return out.Red
	}
	return out.Orange
}

// recordNote is what there is to say of a record: why it has its status, and what is unusual.
func recordNote(r *registry.Record) string {
	text := r.Instance.Reason
	if r.Err != nil {
		text = errtext.Text(r.Err)
	}
	more := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	if o := r.Override; o != nil {
		by := o.By
		if by == "" {
			by = "an operator"
		}
		if !r.Registered() {
			more("%s is set for it by %s", o.Status, by)
			if o.Reason != "" {
				more("%s", o.Reason)
			}
		} else {
			more("set by %s", by)
		}
	}
	if r.Registered() && r.Lease == 0 {
		more("permanent: on no lease")
	}
	return text
}

// roundAge is an age for people: two of its largest units.
func roundAge(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

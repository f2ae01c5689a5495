package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/doctor"
)

func newDoctor(a *app) *cobra.Command {
	var format out.Format
	var opts doctor.Options
	cmd := &cobra.Command{
		Use: "doctor", Short: "what is wrong with a cluster, and what to do about it", Args: needs("", 0, 0),
		Long: paragraphs(
			"Examines a cluster for --wait and prints what it found, problems first, with what to do about each. It looks at the quorum, at members that do not answer or lag, alarms, quota, fragmentation, versions and their known faults, authentication, TLS, the JSON gateway, the latency of disks, network and commits, the leader's clock, and leases.",
			"No key is written. To see how long a commit takes and how fast the leader's clock runs, a few short leases are granted and revoked. Latencies of disks and between members are read from /metrics at each member's client URL, where etcd serves it unless it was told otherwise.",
			"The exit code is 5 if there is a problem, and 4 if no member answers. Warnings do not change it. -o json, jsonl and template have one record for each finding, with a stable id."),
		Example: "  etcdkit doctor\n  etcdkit doctor --context prod --wait 30s\n  etcdkit doctor -o jsonl | jq -r 'select(.severity != \"ok\") | .id'",
	}
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.placed(cmd.Context(), f, func(p *place.Place) error {
			opts.TLS = p.TLS
			return a.doctor(cmd.Context(), p, format, opts)
		})
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkDoctorOptions(&opts) }
	cmd.Flags().DurationVar(&opts.Wait, "wait", 3*time.Second, "how long to measure, from 2s on")
	cmd.Flags().DurationVar(&opts.Timeout, "timeout", 2*time.Second, "how long each member may take to answer")
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return cmd
}

func (a *app) doctor(ctx context.Context, p *place.Place, format out.Format, opts doctor.Options) error {
	waiting := func() {}
	opts.Progress = func(step string) {
		waiting()
		waiting = a.out.Waiting(step)
	}
	report, err := doctor.Examine(ctx, p.Client, &opts)
	waiting()
	if err != nil {
		return doctorError(err)
	}
	if format.Is(out.Table) {
		err = a.printReport(report)
	} else {
		err = a.printFindings(format, report.Findings)
	}
	if err == nil && report.Worst() == doctor.Problem {
		err = exitError(ExitDegraded)
	}
	return err
}

// printFindings prints them for a program. As values they are the ids of what is wrong.
func (a *app) printFindings(format out.Format, findings []doctor.Finding) error {
	list := a.out.Records(format)
	for _, f := range findings {
		if format.Is(out.Value) && f.Severity != doctor.Problem && f.Severity != doctor.Warning {
			continue
		}
		if err := list.Add(out.Record{Value: []byte(f.ID), JSON: f}); err != nil {
			return err
		}
	}
	return list.Close()
}

// printReport prints it for people.
func (a *app) printReport(r *doctor.Report) error {
	var counts []string
	for _, part := range []struct {
		severity      doctor.Severity
		title, counts string
		colour        out.Colour
	}{
		{doctor.Problem, "Problems", "problem", out.Red},
		{doctor.Warning, "Warnings", "warning", out.Orange},
		{doctor.Info, "Notes", "note", out.Blue},
		{doctor.OK, "Fine", "", out.Green},
	} {
		n := 0
		var same []doctor.Finding // of several members
		for _, f := range r.Findings {
			if f.Severity != part.severity {
				continue
			}
			if n++; n == 1 {
				if err := a.out.Printf("%s\n", a.out.Palette.Paint(part.title, part.colour)); err != nil {
					return err
				}
			}
			if len(same) > 0 && (same[0].ID != f.ID || same[0].Why != f.Why) {
				if err := a.printFinding(same); err != nil {
					return err
				}
				same = nil
			}
			same = append(same, f)
		}
		if err := a.printFinding(same); err != nil {
			return err
		}
		switch {
		case n == 0:
			continue
		case part.counts == "":
			counts = append(counts, fmt.Sprintf("%d fine", n))
		default:
			counts = append(counts, out.Count(n, part.counts))
		}
		if err := a.out.Printf("\n"); err != nil {
			return err
		}
	}
	return a.out.Resultf("%s", strings.Join(counts, ", "))
}

// printFinding prints what is fine in one line, and the rest with why it matters and what to do. Findings of one kind
// have that once.
func (a *app) printFinding(all []doctor.Finding) error {
	var do []string
	for _, f := range all {
		id := ""
		if f.Severity != doctor.OK {
			id = " " + a.out.Palette.Paint("["+f.ID+"]", out.Faint)
		}
		if err := a.out.Linef(2, "  %s%s", out.Safe(f.What), id); err != nil {
			return err
		}
		if f.Do != "" && !slices.Contains(do, f.Do) {
			do = append(do, f.Do)
		}
	}
	explain := func(name, text string) error {
		return a.out.Linef(5, "    %s %s", a.out.Palette.Paint(name, out.Faint), out.Safe(text))
	}
	if len(all) > 0 && all[0].Why != "" {
		if err := explain("why:", all[0].Why); err != nil {
			return err
		}
	}
	for _, text := range do {
		if err := explain("do: ", strings.ReplaceAll(text, "etcdctl ", "etcdkit ctl ")); err != nil {
			return err
		}
	}
	return nil
}

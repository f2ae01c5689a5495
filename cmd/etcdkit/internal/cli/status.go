package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

func newStatus(e *env) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: "status", Short: "the members of the running cluster and what it can lose", Args: usageArgs(needs("", 0, 0)),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.status(cmd.Context(), r) },
	}
	r.flags(cmd)
	return cmd
}

func (e *env) status(ctx context.Context, r remote) error {
	k, err := r.find(ctx)
	if err != nil {
		return err
	}
	s, err := k.Status(ctx)
	if err != nil {
		return err
	}
	if r.output == "json" {
		return e.out.JSON(s)
	}
	return e.out.Printf("%s\n  %s\n  %s\n", e.members(s), out.Alarm(e.out.Palette, s.Quorum.String()), devctl.ExportLine(s))
}

// members is a table of them.
func (e *env) members(s cluster.State) string {
	heading := []string{"MEMBER", "ROLE", "STATE", "PID", "CLIENT", "PEER"}
	if slices.ContainsFunc(s.Members, func(m cluster.MemberState) bool { return note(m) != "" }) {
		heading = append(heading, "NOTE")
	}
	rows := [][]out.Cell{nil}
	for _, h := range heading {
		rows[0] = append(rows[0], out.Cell{Text: h, Colour: out.Faint})
	}
	for _, m := range s.Members {
		pid, role, leads := "-", "-", out.Plain
		if m.PID != 0 {
			pid = fmt.Sprint(m.PID)
		}
		if m.Role != "" {
			role = m.Role
		}
		if m.Role == "leader" {
			leads = out.Bold
		}
		row := []out.Cell{{Text: m.Name, Colour: leads}, {Text: role, Colour: leads}, {Text: string(m.Status), Colour: statusColour(m.Status)}, {Text: pid}, {Text: m.Client}, {Text: m.Peer}}
		if n := note(m); n != "" {
			row = append(row, out.Cell{Text: n, Colour: out.Orange})
		}
		rows = append(rows, row)
	}
	return e.out.Palette.Table(rows)
}

func statusColour(s cluster.Status) out.Colour {
	switch s {
	case cluster.Running:
		return out.Green
	case cluster.Starting, cluster.Paused:
		return out.Orange
	}
	return out.Red
}

func note(m cluster.MemberState) string {
	var notes []string
	if len(m.CutFrom) > 0 {
		notes = append(notes, "cut from "+strings.Join(m.CutFrom, ","))
	}
	if m.Latency > 0 {
		notes = append(notes, "+"+m.Latency.String()+" each way")
	}
	if m.Reason != "" {
		notes = append(notes, m.Reason)
	}
	return strings.Join(notes, "; ")
}

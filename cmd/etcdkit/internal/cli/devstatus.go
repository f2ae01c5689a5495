package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

func newDevStatus(a *app) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: "status", Short: "the members of the running cluster and how many may fail", Args: needs("", 0, 0),
		Example: "  etcdkit dev status\n  etcdkit dev status -o json\n  etcdkit dev status --cluster 22379",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.devStatus(cmd.Context(), r) },
	}
	r.flags(cmd)
	return cmd
}

func (a *app) devStatus(ctx context.Context, r remote) error {
	k, err := r.find(ctx)
	if err != nil {
		return err
	}
	s, err := k.Status(ctx)
	if err != nil {
		return err
	}
	if r.output == "json" {
		return a.out.JSON(s)
	}
	if err := a.out.Printf("%s\n", a.members(s)); err != nil {
		return err
	}
	return errors.Join(a.out.Resultf("  %s", out.Alarm(a.out.Palette, s.Quorum.String())), a.out.Printf("  %s\n", devctl.ExportLine(s)))
}

// members is a table of them, and what there is to say of some, below it.
func (a *app) members(s cluster.State) string {
	rows, notes := [][]out.Cell{nil}, ""
	for _, h := range []string{"MEMBER", "ROLE", "STATE", "PID", "CLIENT", "PEER"} {
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
		rows = append(rows, []out.Cell{{Text: m.Name, Colour: leads}, {Text: role, Colour: leads}, {Text: string(m.Status), Colour: statusColour(m.Status)}, {Text: pid}, {Text: m.Client}, {Text: m.Peer}})
		if n := note(m); n != "" {
			notes += out.Wrap("  "+m.Name+"  "+a.out.Palette.Paint(n, out.Orange), a.out.Width(), 7) + "\n"
		}
	}
	if notes != "" {
		notes = "\n" + notes
	}
	return a.out.Palette.Table(rows) + notes
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

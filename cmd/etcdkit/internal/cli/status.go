package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/doctor"
)

func newStatus(a *app) *cobra.Command {
	var format out.Format
	var opts doctor.Options
	cmd := &cobra.Command{
		Use: "status", Short: "the members of a cluster, their health, and how many may fail", Args: needs("", 0, 0),
		Long: paragraphs(
			"Shows each member's role, term, lag (committed entries that it has yet to apply), database and quota, how long a request to it took, and its health; and below, how many more members may fail.",
			"Each member is asked by itself, at the client URLs that it advertises and at --endpoints. So status works without a quorum, and members that are silent cost --timeout in all.",
			"The exit code is 5 if the cluster is degraded: a member does not answer, has another leader or none, or raised an alarm. It is 4 if the cluster has no quorum, or if no member answers at all. 'etcdkit doctor' looks deeper, and says what to do."),
		Example: "  etcdkit status\n  etcdkit status --endpoints https://10.0.0.1:2379 --cacert ca.pem\n  etcdkit status -o template='{{range .members}}{{.name}} {{.lag}} {{end}}'",
	}
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.Timeout = min(f.Timeout, opts.Timeout) // which also bounds a cluster that does not answer
		err := a.placed(cmd.Context(), f, func(p *place.Place) error {
			c, err := doctor.Status(cmd.Context(), p.Client, &opts)
			if err != nil {
				return doctorError(err)
			}
			return errors.Join(a.printStatus(format, c), exitCodeOf(c))
		})
		var silent client.EndpointErrors
		if errors.As(err, &silent) {
			err = errors.Join(a.printStatus(format, silentCluster(silent)), err)
		}
		return err
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkDoctorOptions(&opts) }
	cmd.Flags().DurationVar(&opts.Timeout, "timeout", 2*time.Second, "how long each member may take to answer")
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return cmd
}

// silentCluster is what is known of a cluster of which no member answers.
func silentCluster(endpoints client.EndpointErrors) *doctor.Cluster {
	c := &doctor.Cluster{Incomplete: "the list of members could not be read"}
	for _, e := range endpoints {
		c.Members = append(c.Members, doctor.Member{ClientURLs: []string{e.Endpoint}, Problem: e.Problem})
	}
	return c
}

// checkDoctorOptions refuses flags before anything is sent.
func checkDoctorOptions(opts *doctor.Options) error {
	if opts.Timeout <= 0 {
		return usagef("--timeout %v: want more than 0", opts.Timeout)
	}
	if opts.Check() != nil {
		return usagef("--wait %v: want 2s to 10m", opts.Wait)
	}
	return nil
}

// doctorError gives an error of package doctor its exit code.
func doctorError(err error) error {
	if errors.Is(err, doctor.ErrUnreachable) {
		return coded(ExitUnreachable, err)
	}
	return err
}

// exitCodeOf says by the exit code what the output has said.
func exitCodeOf(c *doctor.Cluster) error {
	switch {
	case !c.HasQuorum():
		return exitError(ExitUnreachable)
	case c.Degraded():
		return exitError(ExitDegraded)
	}
	return nil
}

func (a *app) printStatus(format out.Format, c *doctor.Cluster) error {
	if !format.Is(out.Table) {
		return a.out.Record(format, nil, out.Record{Value: []byte(healthWord(c)), JSON: clusterOf(c)})
	}
	var notes strings.Builder
	note := func(text string, colour out.Colour) {
		notes.WriteString(out.Wrap("  "+a.out.Palette.Paint(out.Safe(text), colour), a.out.Width(), 2) + "\n")
	}
	reasons := c.Reasons()
	switch {
	case c.Voters == 0: // a silentCluster, whose reasons are the error
		reasons = nil
	case !c.HasQuorum():
		reasons = reasons[1:] // the first one is in the summary
	}
	for _, reason := range reasons {
		note(reason, out.Orange)
	}
	if c.Incomplete != "" && c.Voters > 0 {
		note(c.Incomplete, out.Orange)
	}
	for i := range c.Members {
		if used := c.Members[i].QuotaUsed(); used >= fullQuota {
			note(fmt.Sprintf("%s uses %.0f %% of its quota", c.Members[i].Label(), 100*used), out.Orange)
		}
	}
	if notes.Len() > 0 {
		notes.WriteString("  'etcdkit doctor' says what to do\n\n")
	}
	text := a.out.Palette.Table(memberRows(c)) + "\n" + notes.String()
	return errors.Join(a.out.Printf("%s", text), a.out.Resultf("  %s", out.Alarm(a.out.Palette, out.Safe(clusterSummary(c)))))
}

// fullQuota is the part of a quota from which on it is worth a word.
const fullQuota = 0.8

// memberRows are the table. With the names and addresses of etcdkit dev it is 80 columns wide.
func memberRows(c *doctor.Cluster) [][]out.Cell {
	var heading []out.Cell
	for i, h := range []string{"MEMBER", "ROLE", "ENDPOINT", "TERM", "LAG", "DB", "QUOTA", "TOOK", "HEALTH"} {
		heading = append(heading, out.Cell{Text: h, Colour: out.Faint, Right: i >= 3 && i <= 7})
	}
	rows := [][]out.Cell{heading}
	for i := range c.Members {
		rows = append(rows, memberRow(c, &c.Members[i]))
	}
	return rows
}

func memberRow(c *doctor.Cluster, m *doctor.Member) []out.Cell {
	health, colour := memberHealth(c, m)
	leads := out.Plain
	if m.Role == doctor.Leader {
		leads = out.Bold
	}
	row := []out.Cell{
		{Text: out.Safe(m.Label()), Colour: leads},
		{Text: cmp.Or(string(m.Role), "-"), Colour: leads},
		{Text: cmp.Or(out.Safe(hostPort(m)), "-")},
	}
	right := func(text string, colour out.Colour) {
		row = append(row, out.Cell{Text: text, Colour: colour, Right: true})
	}
	if m.Reachable {
		full := out.Plain
		if m.QuotaUsed() >= fullQuota {
			full = out.Orange
		}
		quota := "-"
		if m.Quota > 0 {
			quota = out.Bytes(m.Quota)
		}
		right(fmt.Sprint(m.Term), out.Plain)
		right(fmt.Sprint(m.Lag), out.Plain)
		right(out.Bytes(m.DBSize), full)
		right(quota, out.Plain)
		right(roundTripText(m.RoundTrip), out.Plain)
	} else {
		for range 5 {
			right("-", out.Plain)
		}
	}
	return append(row, out.Cell{Text: health, Colour: colour})
}

// hostPort is where the member answered, or where it should.
func hostPort(m *doctor.Member) string {
	endpoint := m.Endpoint
	if endpoint == "" && len(m.ClientURLs) > 0 {
		endpoint = m.ClientURLs[0]
	}
	if scheme, rest, ok := strings.Cut(endpoint, "://"); ok && strings.HasPrefix(scheme, "http") {
		return strings.TrimSuffix(rest, "/")
	}
	return endpoint
}

// memberHealth is one word about a member, of at most nine letters.
func memberHealth(c *doctor.Cluster, m *doctor.Member) (string, out.Colour) {
	for _, a := range c.Alarms {
		if a.Member == m.ID {
			return out.Safe(a.Kind), out.Red
		}
	}
	switch {
	case !m.Started():
		return "not begun", out.Red
	case !m.Reachable:
		return "no answer", out.Red
	case m.Leader == 0:
		return "no leader", out.Red
	case !c.HasQuorum(): // it follows a leader that has just gone
		return "no quorum", out.Red
	case c.Leader != 0 && m.Leader != c.Leader:
		return "cut off", out.Red
	}
	return "ok", out.Green
}

// clusterSummary is one line about the cluster.
func clusterSummary(c *doctor.Cluster) string {
	var versions []string
	for _, m := range c.Members {
		if m.Version != "" && !slices.Contains(versions, m.Version) {
			versions = append(versions, m.Version)
		}
	}
	slices.Sort(versions)
	if !c.HasQuorum() {
		return "QUORUM LOST: " + strings.TrimPrefix(c.Reasons()[0], "no quorum: ") + " · no writes"
	}
	text := fmt.Sprintf("quorum %d/%d · leader %s · can lose %d more · etcd %s", c.Healthy, c.Voters, c.Label(c.Leader), c.CanLose, strings.Join(versions, " and "))
	if c.Degraded() {
		text = "degraded · " + text
	}
	return text
}

// healthWord is the cluster in a word, for a script.
func healthWord(c *doctor.Cluster) string {
	switch {
	case !c.HasQuorum():
		return "no quorum"
	case c.Degraded():
		return "degraded"
	}
	return "ok"
}

func roundTripText(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

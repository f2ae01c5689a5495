package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/internal/wholefile"
)

const groupFaults = "faults"

// devFlags say which cluster dev and dev run start.
type devFlags struct {
	members   int
	dataDir   string
	anyPort   bool
	gateway   bool
	output    string
	readyFile string
}

func (f *devFlags) cluster(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.members, "members", 3, "1, 3 or 5")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "keep the data here, and use it again (default: temporary, removed at exit)")
	cmd.Flags().BoolVar(&f.anyPort, "any-port", false, "take free ports instead of 2379/2380, 22379/22380, 32379/32380")
	cmd.Flags().BoolVar(&f.gateway, "gateway", false, "serve etcd's JSON API below /v3/, too; web pages that are open on this machine can then write keys")
}

func newDev() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "a real local etcd cluster, and faults to try on it",
		GroupID: groupMain,
		Long: `Starts a cluster of real etcd processes on 127.0.0.1 and runs until Ctrl-C (a second
Ctrl-C ends it at once). From another terminal, the fault commands break it and print what
that did, as measured. Use "leader" for whichever member leads now, "follower" for one that does
not, and "all" for all of them. While it runs, etcdkit ctl finds it without being told where it is.`,
		Example: "  etcdkit dev\n  etcdkit dev kill leader\n  etcdkit dev run -- go test ./...",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDev(cmd, f) },
	}
	f.cluster(cmd)
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json (one line when ready)")
	cmd.Flags().StringVar(&f.readyFile, "ready-file", "", "write the status as JSON to this file when ready; removed at exit")
	cmd.AddGroup(&cobra.Group{ID: groupMain, Title: "Commands:"}, &cobra.Group{ID: groupFaults, Title: "Faults:"})
	status, logs, run := newStatus(), newLogs(), newDevRun()
	for _, c := range []*cobra.Command{status, logs, run} {
		c.GroupID = groupMain
		cmd.AddCommand(c)
	}
	for _, fault := range faults {
		cmd.AddCommand(fault.command())
	}
	return cmd
}

func (f *devFlags) options(logger *slog.Logger) (*cluster.Options, error) {
	if f.members != 1 && f.members != 3 && f.members != 5 {
		return nil, usagef("--members %d: want 1, 3 or 5", f.members)
	}
	return &cluster.Options{Members: f.members, DataDir: f.dataDir, AnyPort: f.anyPort, Gateway: f.gateway, Logger: logger}, nil
}

func runDev(cmd *cobra.Command, f devFlags) (err error) {
	defer endOnSecondSignal()()
	ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return err
	}
	if err := checkReadyFile(f.readyFile); err != nil {
		return err
	}
	removeDir, err := checkControlDir() // before a cluster is there that it could not serve
	if err != nil {
		return err
	}
	defer removeDir()
	talk := slog.New(&lines{to: stderr})
	opts, err := f.options(talk)
	if err != nil {
		return err
	}
	begin := time.Now()
	c, err := cluster.Start(ctx, opts)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	took := time.Since(begin)
	stop, err := serveControl(c, func(ch *cluster.Change) { talk.Info(ch.String()) })
	if err != nil {
		return err
	}
	defer stop()
	silence, err := announce(firstPort(c.State().Members[0].Client), c.Endpoints())
	if err != nil {
		return err
	}
	defer silence()

	status, err := json.Marshal(c.State())
	if err != nil {
		return err
	}
	if f.readyFile != "" {
		if err := wholefile.Write(f.readyFile, append(status, '\n')); err != nil {
			return fmt.Errorf("ready file: %w", err)
		}
		defer os.Remove(f.readyFile)
	}
	if f.output == "json" {
		fmt.Fprintf(stdout, "%s\n", status)
	} else {
		printReady(stdout, c.State(), took, f.gateway)
	}
	<-ctx.Done()
	talk.Info("stopping; Ctrl-C again ends it at once")
	return nil
}

// interrupted makes an error that a signal caused the signal's exit code, without words.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	return err
}

// checkDirectory tells early that a file cannot be written; what is the file in words.
func checkDirectory(what, name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(filepath.Dir(name))
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return fmt.Errorf("%s %s: its directory: %w", what, name, err)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s %s: is a directory: want a file", what, name)
	}
	return nil
}

// checkReadyFile tells early that a ready file cannot be written, or would replace what is no file, as a
// device or a link: the ready file gets its name when it is complete, and is removed at the end.
func checkReadyFile(name string) error {
	const what = "ready file"
	if err := checkDirectory(what, name); err != nil {
		return err
	}
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s %s: is not a regular file: name another one", what, name)
	}
	return nil
}

func printReady(w io.Writer, s cluster.State, took time.Duration, gateway bool) {
	noun := "members"
	if len(s.Members) == 1 {
		noun = "member"
	}
	fmt.Fprintf(w, "etcd %s · %d %s ready in %.2fs\n\n", s.Etcd, len(s.Members), noun, took.Seconds())
	printMembers(w, s)
	kept := "kept; the next etcdkit dev --data-dir uses it again"
	if s.Temporary {
		kept = "removed at exit; --data-dir DIR keeps it"
	}
	fmt.Fprintf(w, "\n  data   %s (%s)\n", s.DataDir, kept)
	fmt.Fprintf(w, "  use    %s\n", exportLine(s))
	if gateway {
		fmt.Fprintf(w, "  json   http://%s/v3/   (any web page open on this machine can write keys)\n", s.Members[0].Client)
	}
	choice := ""
	if port := firstPort(s.Members[0].Client); port != usualPort {
		choice = " --cluster " + port // there may be another one
	}
	fmt.Fprintf(w, "  break  etcdkit dev kill leader%s   (in another terminal; etcdkit dev --help has more)\n", choice)
	fmt.Fprintf(w, "  stop   Ctrl-C\n\n")
}

func exportLine(s cluster.State) string {
	return "export ETCDCTL_ENDPOINTS=" + strings.Join(s.Endpoints, ",")
}

func printMembers(w io.Writer, s cluster.State) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	heading := "  MEMBER\tROLE\tSTATE\tPID\tCLIENT\tPEER"
	if slices.ContainsFunc(s.Members, func(m cluster.MemberState) bool { return note(m) != "" }) {
		heading += "\tNOTE"
	}
	fmt.Fprintln(t, heading)
	for _, m := range s.Members {
		pid := "-"
		if m.PID != 0 {
			pid = fmt.Sprint(m.PID)
		}
		role := m.Role
		if role == "" {
			role = "-"
		}
		row := []string{m.Name, role, string(m.Status), pid, m.Client, m.Peer}
		if n := note(m); n != "" {
			row = append(row, n)
		}
		fmt.Fprintf(t, "  %s\n", strings.Join(row, "\t"))
	}
	t.Flush()
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

// lines is a slog.Handler for people: the member's name, then the message.
type lines struct {
	to     io.Writer
	least  slog.Level
	member string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }
func (l *lines) WithGroup(string) slog.Handler                    { return l }

func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *l
	for _, a := range attrs {
		next.note(a)
	}
	return &next
}

func (l *lines) note(a slog.Attr) {
	if a.Key == "member" {
		l.member = a.Value.String() + "  "
	}
}

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	line := *l
	r.Attrs(func(a slog.Attr) bool { line.note(a); return true })
	_, err := fmt.Fprintf(l.to, "%s  %s%s\n", r.Time.Format(time.TimeOnly), line.member, r.Message)
	return err
}

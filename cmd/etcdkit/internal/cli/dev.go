package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
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
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "keep the data here and use it again (default: a temporary directory)")
	cmd.Flags().BoolVar(&f.anyPort, "any-port", false, "take free ports instead of 2379/2380, 22379/22380, 32379/32380")
	cmd.Flags().BoolVar(&f.gateway, "gateway", false, "serve etcd's JSON API below /v3/, too (web pages that are open on this machine can then write keys)")
}

func newDev(a *app) *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "a real local etcd cluster, and faults to try on it",
		GroupID: groupMain,
		Long: paragraphs(
			`Starts a cluster of real etcd processes on 127.0.0.1 and runs until Ctrl-C (a second Ctrl-C ends it at once). From another terminal, the fault commands break it and print what that did, as measured.`,
			`MEMBER is a name (etcd1). Use "leader" for the member that leads at that moment, "follower" for one that does not, and "all" for all of them. While the cluster runs, the other commands and client.Dial find it by themselves.`),
		Example: "  etcdkit dev\n  etcdkit dev kill leader\n  etcdkit dev run -- go test ./...",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), f) },
	}
	f.cluster(cmd)
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json (one line when ready)")
	cmd.Flags().StringVar(&f.readyFile, "ready-file", "", "write the status as JSON to this file when ready; removed at exit")
	cmd.AddGroup(&cobra.Group{ID: groupMain, Title: "Commands:"}, &cobra.Group{ID: groupFaults, Title: "Faults:"})
	status, logs, run := newDevStatus(a), newDevLogs(a), newDevRun(a)
	for _, c := range []*cobra.Command{status, logs, run} {
		c.GroupID = groupMain
		cmd.AddCommand(c)
	}
	for _, f := range devctl.Faults() {
		cmd.AddCommand(newDevFault(a, f))
	}
	return cmd
}

func (f *devFlags) options(logger *slog.Logger) (*cluster.Options, error) {
	if f.members != 1 && f.members != 3 && f.members != 5 {
		return nil, usagef("--members %d: want 1, 3 or 5", f.members)
	}
	return &cluster.Options{Members: f.members, DataDir: f.dataDir, AnyPort: f.anyPort, Gateway: f.gateway, Logger: logger}, nil
}

func (a *app) dev(ctx context.Context, f devFlags) (err error) {
	defer endOnSecondSignal()()
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return err
	}
	if err := checkReadyFile(f.readyFile); err != nil {
		return err
	}
	removeDir, err := devctl.CheckDir() // before a cluster is there that it could not serve
	if err != nil {
		return err
	}
	defer removeDir()
	logger := a.out.Logger(slog.LevelDebug)
	opts, err := f.options(logger)
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
	stop, err := devctl.Serve(c, func(ch *cluster.Change) { logger.Info(ch.String()) })
	if err != nil {
		return err
	}
	defer stop()
	removeEndpoints, err := devctl.WriteEndpoints(c.Endpoints())
	if err != nil {
		return err
	}
	defer removeEndpoints()
	removeContext, err := place.WriteDevContext(c.Endpoints())
	if err != nil { // a home directory that cannot be written to is no reason not to run
		logger.Info("no context for this cluster: " + err.Error())
	}
	defer removeContext()
	removeReady, err := a.ready(c.State(), took, f)
	if err != nil {
		return err
	}
	defer removeReady()
	<-ctx.Done()
	logger.Info("stopping; Ctrl-C again ends it at once")
	return nil
}

// ready tells that the cluster is: in the ready file, and on stdout. The returned function removes the file.
func (a *app) ready(s cluster.State, took time.Duration, f devFlags) (remove func(), err error) {
	remove = func() {}
	if f.readyFile != "" {
		status, err := json.Marshal(s)
		if err != nil {
			return remove, err
		}
		if err := wholefile.Write(f.readyFile, append(status, '\n')); err != nil {
			return remove, fmt.Errorf("ready file: %w", err)
		}
		remove = func() { os.Remove(f.readyFile) }
	}
	if f.output == "json" {
		err = a.out.JSON(s)
	} else {
		err = a.printReady(s, took, f.gateway)
	}
	if err != nil {
		remove()
	}
	return remove, err
}

// printReady prints what a person needs to use the cluster, to break it and to end it.
func (a *app) printReady(s cluster.State, took time.Duration, gateway bool) error {
	kept := "kept; the next etcdkit dev --data-dir uses it again"
	if s.Temporary {
		kept = "removed at exit; --data-dir DIR keeps it"
	}
	rows := [][2]string{{"data", fmt.Sprintf("%s (%s)", s.DataDir, kept)}, {"use", devctl.ExportLine(s)}}
	if name, inUse := place.DevContextBeside(s.Endpoints); name != "" {
		rows = append(rows, [2]string{"", fmt.Sprintf("or %s ctx use %s; the context in use is %s", a.self, name, inUse)})
	}
	if gateway {
		rows = append(rows, [2]string{"json", fmt.Sprintf("http://%s/v3/ (any web page open on this machine can write keys)", s.Members[0].Client)})
	}
	rows = append(rows, [2]string{"break", a.self + " dev kill leader" + devctl.Choice(s)}, [2]string{"", "in another terminal; " + a.self + " dev --help has more"}, [2]string{"stop", "Ctrl-C"})
	p := a.out.Palette
	ready := fmt.Sprintf("etcd %s · %s ready in %.2fs", s.Etcd, out.Count(len(s.Members), "member"), took.Seconds())
	if err := a.out.Printf("%s\n\n%s\n", p.Paint(ready, out.Bold), a.members(s)); err != nil {
		return err
	}
	for _, r := range rows {
		if err := a.out.Linef(len("break "), "  %s%s", p.Paint(fmt.Sprintf("%-6s", r[0]), out.Faint), r[1]); err != nil {
			return err
		}
	}
	return a.out.Printf("\n")
}

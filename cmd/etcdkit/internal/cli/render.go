package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/render"
	"github.com/etcdkit/etcdkit/registry"
)

// renderFlags are those of render.
type renderFlags struct {
	keepUp
	exec, check    string
	commandTimeout time.Duration
	once, dryRun   bool
	minimums       []string
	perm           string
	services       string
}

func newRender(a *app) *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:   "render TEMPLATE:OUT… [flags] [-- CMD [ARG…]]",
		Short: "write files from templates and what etcd has, whenever it changes",
		Long: paragraphs(
			"Makes OUT from TEMPLATE, and again when a key or a service changes that the template asks for. An output is replaced in one step, follows a symbolic link, and keeps its mode and owner; one that would not change is not written, and then nothing is executed. Nothing is written from what etcd has not confirmed: while etcd is away the files stay as they are.",
			"All outputs are made first. --check gets each new file before it counts: {} and $ETCDKIT_RENDERED are its path, $ETCDKIT_OUTPUT is OUT. If one check fails no file is replaced. --exec comes after all are written, and is not run again for the same files when it fails. Both are commands for sh.",
			"Templates are those of Go's text/template, with these functions:",
			`  service "web"     instances that take requests; each has .Addr .Host .Port
                    .ID .Zone .Version .Weight .Tags .Status .Meta
                    (all of them: service "web" "any")
  services          names of services
  key "a/b"         a value; the template waits until there is one
  keyOr "a/b" "x"   a value, or else x;  keyExists "a/b"
  keys "a/"         all below a/; each has .Key .Name .Value
  tree "a/"         all below a/ as maps:  (tree "a/").db.host
  env "HOME"        a variable of the environment
  default "x" V     V, or x if V is empty:  {{ env "PORT" | default "80" }}
  json V, toJSONPretty V, parseJSON TEXT, base64Encode, base64Decode, quote
  join SEP LIST, split SEP TEXT, lines, toUpper, toLower, trimSpace,
  trimPrefix, trimSuffix, replaceAll FROM TO TEXT, contains PART TEXT,
  hasPrefix, hasSuffix, indent N TEXT, toInt, add, sub, mul`,
			"Instances whose address is not host:port are left out. Values are written as they are: every client that can write the keys decides what is in the file.",
			"With CMD it is started when the files are there, and when they change it is started again, or gets a signal. The exit code is then CMD's own, or 125, 126 or 127. With --once: 0, 3 if a key is missing, 1 if a check or a command failed. A template that is wrong is exit code 2."),
		Example: "  etcdkit render haproxy.tmpl:/etc/haproxy/haproxy.cfg --min web=1 \\\n      --check 'haproxy -c -f {}' --exec 'systemctl reload haproxy'\n" +
			"  etcdkit render app.tmpl:app.conf --dry-run\n" +
			"  etcdkit render app.tmpl:app.conf --on-change signal=HUP -- ./server",
		Annotations: wrapperWithCommand(),
		RunE:        func(cmd *cobra.Command, args []string) error { return a.render(cmd, &f, args) },
	}
	f.cluster = clusterFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.exec, "exec", "", "run this after files were written")
	flags.StringVar(&f.check, "check", "", "run this before a file is replaced; if it fails, the old one stays")
	flags.DurationVar(&f.commandTimeout, "command-timeout", 30*time.Second, "how long --exec and --check may take")
	flags.BoolVar(&f.once, "once", false, "write the files once and end")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be written, as a diff where OUT exists, and end")
	flags.StringArrayVar(&f.minimums, "min", nil, "write nothing while a service has fewer instances, as in web=2")
	flags.StringVar(&f.perm, "perm", "", "mode of the files (default: as it is, 0644 for a new one)")
	flags.StringVar(&f.services, "service-prefix", registry.DefaultPrefix, "where services are")
	f.flags(cmd, "wait", 250*time.Millisecond, reload.Restart, reload.Signal, reload.None)
	return cmd
}

// job makes the job that the command line describes.
func (f *renderFlags) job(a *app, cmd *cobra.Command, specs []string) (*render.Job, error) {
	if len(specs) == 0 {
		return nil, usagef("which template? as in: etcdkit render app.tmpl:app.conf")
	}
	if err := f.checkRender(cmd); err != nil {
		return nil, err
	}
	j := &render.Job{
		Services: f.services, Pause: f.pause, Check: f.check, Exec: f.exec, CommandTimeout: f.commandTimeout,
		Stdout: a.out.Stdout(), Stderr: a.out.Stderr(),
		Say: a.say,
	}
	for _, spec := range specs {
		t, err := render.Parse(spec)
		if err != nil {
			return nil, coded(ExitUsage, err)
		}
		j.Templates = append(j.Templates, t)
	}
	if err := render.Distinct(j.Templates); err != nil {
		return nil, coded(ExitUsage, err)
	}
	if f.perm != "" {
		perm, err := strconv.ParseUint(f.perm, 8, 32)
		if err != nil || perm == 0 || perm > 0o777 {
			return nil, usagef("--perm %q: want a mode such as 0640", f.perm)
		}
		j.Perm = fs.FileMode(perm)
	}
	for _, text := range f.minimums {
		service, number, _ := strings.Cut(text, "=")
		least, err := strconv.Atoi(number)
		if _, invalid := registry.ServicePrefix(f.services, service); invalid != nil || err != nil || least < 1 {
			return nil, usagef("--min %q: want SERVICE=NUMBER, as in web=1", text)
		}
		j.Minimums = append(j.Minimums, render.Minimum{Service: service, Least: least})
	}
	return j, nil
}

// checkRender refuses flags that cannot be, or do not belong together.
func (f *renderFlags) checkRender(cmd *cobra.Command) error {
	if err := f.keepUp.check(); err != nil {
		return err
	}
	switch {
	case f.commandTimeout <= 0:
		return usagef("--command-timeout %v: want more than 0s", f.commandTimeout)
	case f.dryRun && (f.exec != "" || f.check != ""):
		return usagef("--dry-run writes nothing: want no --exec and no --check")
	}
	if _, err := registry.ServicePrefix(f.services, "any"); err != nil {
		return usagef("--service-prefix %q: want one that ends in a slash", f.services)
	}
	command := cmd.ArgsLenAtDash() >= 0
	if !command {
		return needCommand(cmd, "on-change", "kill-grace")
	}
	if f.once || f.dryRun {
		return usagef("--once and --dry-run do not go with a command")
	}
	return nil
}

func (a *app) render(cmd *cobra.Command, f *renderFlags, args []string) error {
	own, command, err := splitCommand(cmd, args)
	if err != nil {
		return err
	}
	j, err := f.job(a, cmd, own)
	if err != nil {
		return err
	}
	_, start, err := f.begin(cmd.Context(), a, command)
	if err != nil {
		return err
	}
	defer start.close()
	if err := start.end(nil); err != nil {
		return err
	}
	ctx := cmd.Context()
	j.Client = start.place.Client
	switch {
	case f.once || f.dryRun:
		bound, cancel := context.WithTimeout(ctx, f.start)
		defer cancel()
		if f.dryRun {
			err = a.dryRun(bound, j)
		} else {
			err = j.Once(bound)
		}
		return interrupted(ctx, missing(unreachable(a.whyUnanswered(ctx, j.Client, err))))
	case len(command) == 0:
		_, err := j.Run(ctx)
		return interrupted(ctx, unreachable(err))
	}
	return a.renderFor(ctx, j, start.signals, f, command)
}

// missing gives an error about a key that is not there its exit code.
func missing(err error) error {
	var no *render.MissingError
	if errors.As(err, &no) {
		return coded(ExitNotFound, err)
	}
	return err
}

// renderFor keeps the files of a command up to date.
func (a *app) renderFor(ctx context.Context, j *render.Job, signals <-chan os.Signal, f *renderFlags, command []string) error {
	until, signals, stop := commandSignals(ctx, signals)
	defer stop()
	j.Signals = signals
	w := f.wrapped(a, command, signals)
	j.Command = w.Keeper(func() (*exec.Cmd, error) { return w.Cmd(nil) })
	code, err := j.Run(until)
	if err != nil && until.Err() != nil {
		return endedBefore(context.Cause(until), err)
	}
	return a.commandEnded(code, err)
}

// dryRun prints what would be written.
func (a *app) dryRun(ctx context.Context, j *render.Job) error {
	results, err := j.DryRun(ctx)
	if err != nil {
		return err
	}
	for _, r := range results {
		text, err := difference(r)
		if err != nil {
			return err
		}
		if text == "" {
			a.out.Talkf("etcdkit: %s would not change", r.Output)
			continue
		}
		if len(results) > 1 {
			a.out.Talkf("etcdkit: %s:", r.Output)
		}
		if out.IsTerminal(a.out.Stdout()) {
			text = out.SafeText(text)
		}
		if err := a.out.Printf("%s", text); err != nil {
			return err
		}
	}
	return nil
}

// difference is the new content, or what it changes in a file that exists.
func difference(r render.Result) (string, error) {
	old, err := os.ReadFile(r.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return string(r.Content), nil
	}
	if err != nil {
		return "", err
	}
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: diffLines(string(old)), B: diffLines(string(r.Content)), FromFile: r.Output, ToFile: r.Output + " (new)", Context: 3,
	})
}

// diffLines are the lines of a text, each with its newline; diff's way to say that the last one has none.
func diffLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	last := len(lines) - 1
	if lines[last] == "" {
		return lines[:last]
	}
	lines[last] += "\n\\ No newline at end of file\n"
	return lines
}

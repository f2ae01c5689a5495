package cli

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/variables"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// envFlags are those of env.
type envFlags struct {
	keepUp
	prefixes []string
	pristine bool
	names    variables.Options
	format   out.Format
}

// export is env's format for a shell.
const export = "export"

func newEnv(a *app) *cobra.Command {
	var f envFlags
	cmd := &cobra.Command{
		Use:   "env -p PREFIX [flags] [-- CMD [ARG…]]",
		Short: "run a command with keys as variables, again when they change",
		Long: paragraphs(
			"Runs CMD with a variable for each key below PREFIX. The name is what follows PREFIX and a slash, with _ for each further slash: of app/db/host below app it is db_host, and DB_HOST with --upcase. The value is the key's, to the byte.",
			"A key whose name a shell would not take (letters, digits and _, no digit first) is an error that names the key; --sanitize puts _ for each other character. Two keys that make the same name are an error. Of several prefixes the last one that has a name counts. Keys that end in a slash and have no value stand for folders and are left out.",
			"CMD is started when all keys were read, never with a part of them. When the variables have changed, CMD is ended with SIGTERM (and SIGKILL after --kill-grace) and started again, or gets a signal, or nothing. Keys that cannot be variables are refused then, too, and CMD keeps what it has; so it does while etcd is away.",
			"The exit code is CMD's own, 128 + the signal if one ended it, or env before CMD was started, 125 for a failure of env, 126 or 127 if CMD cannot be executed. Signals are passed on to CMD.",
			"Every client that can write below PREFIX decides what CMD does: PATH or LD_PRELOAD are names like others.",
			"Without CMD the variables are printed for a shell, or with -o as a table or as JSON."),
		Example: "  etcdkit env -p app --upcase -- ./server\n" +
			"  etcdkit env -p shared -p app --on-change signal=HUP -- ./server\n" +
			"  eval \"$(etcdkit env -p app --upcase)\"",
		Annotations: wrapperWithCommand(),
		RunE:        func(cmd *cobra.Command, args []string) error { return a.env(cmd, &f, args) },
	}
	f.cluster = clusterFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.prefixes, "prefix", "p", nil, "keys below it become variables; more than once: the last one counts")
	flags.BoolVar(&f.names.Upcase, "upcase", false, "names in capital letters")
	flags.BoolVar(&f.names.Sanitize, "sanitize", false, "put _ for what a name cannot have")
	flags.BoolVar(&f.pristine, "pristine", false, "CMD has no variables but those from etcd")
	f.flags(cmd, "debounce", time.Second, reload.Restart, reload.Signal, reload.None)
	formatFlag(cmd, &f.format, export, out.Table, out.JSON, out.Template)
	return cmd
}

func (f *envFlags) checkEnv(cmd *cobra.Command, own, command []string) error {
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case len(own) > 0:
		return usagef("unexpected argument %q: a command comes after --", own[0])
	case len(f.prefixes) == 0:
		return usagef("which keys? as in: etcdkit env -p app -- ./server")
	case len(command) == 0:
		return needCommand(cmd, "on-change", "debounce", "kill-grace", "pristine")
	case cmd.Flags().Changed("output"):
		return usagef("-o is about what env prints: with a command it prints nothing")
	}
	return nil
}

func (a *app) env(cmd *cobra.Command, f *envFlags, args []string) error {
	own, command, err := splitCommand(cmd, args)
	if err != nil {
		return err
	}
	if err := f.checkEnv(cmd, own, command); err != nil {
		return err
	}
	for i, prefix := range f.prefixes {
		if prefix == "" {
			return usagef(`-p "": want a prefix`)
		}
		f.prefixes[i] = strings.TrimSuffix(prefix, "/") + "/" // app is not apple's
	}
	ctx, start, err := f.begin(cmd.Context(), a, command)
	if err != nil {
		return err
	}
	defer start.close()
	opening, cancel := context.WithTimeout(ctx, f.start)
	defer cancel()
	set, err := variables.Open(opening, start.place.Client, f.prefixes, &f.names)
	if err != nil {
		return start.end(unreachable(a.whyUnanswered(ctx, start.place.Client, err)))
	}
	defer set.Close()
	if err := start.end(nil); err != nil {
		return err
	}
	return a.envOn(cmd.Context(), set, start.signals, f, command)
}

func (a *app) envOn(ctx context.Context, set *variables.Set, signals <-chan os.Signal, f *envFlags, command []string) error {
	vars, err := set.Variables()
	if err != nil {
		return err
	}
	if len(vars) == 0 {
		a.out.Talkf("etcdkit: there are no keys below %s", quote.Joined(f.prefixes, 3))
	}
	if len(command) == 0 {
		return a.printVariables(f.format, vars)
	}
	until, signals, stopPassing := commandSignals(ctx, signals)
	defer stopPassing()
	defer a.saysFreshness(until, freshnessOf(set)...)()
	job := &variables.Job{Set: set, Pristine: f.pristine, Wrapped: f.wrapped(a, command, signals)}
	return a.commandEnded(job.Run())
}

func (a *app) printVariables(format out.Format, vars []variables.Variable) error {
	switch {
	case format.Is(export):
		for _, v := range vars {
			line := variables.Export(v)
			if out.IsTerminal(a.out.Stdout()) {
				line = out.SafeText(line)
			}
			if err := a.out.Printf("%s\n", line); err != nil {
				return err
			}
		}
		return nil
	case format.Is(out.Table):
		r := a.out.Records(format, "NAME", "VALUE", "KEY")
		for _, v := range vars {
			if err := r.Add(out.Record{Row: []out.Cell{{Text: v.Name}, {Text: out.Safe(v.Value)}, {Text: out.Safe(v.Key)}}}); err != nil {
				return err
			}
		}
		return r.Close()
	}
	all := make(map[string]keys.Bytes)
	for _, v := range vars {
		all[v.Name] = keys.Bytes(v.Value)
	}
	return a.out.Record(format, nil, out.Record{JSON: all})
}

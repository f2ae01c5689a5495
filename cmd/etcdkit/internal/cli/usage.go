package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

// flagError suggests the nearest flag for an unknown one. Where the command is unknown, that counts first: its flags
// are those of another one.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		want := wanted(invalid.GetFlag().Value.Type())
		if f, is := invalid.GetFlag().Value.(*out.Format); is {
			want = f.Choice()
			if strings.HasPrefix(invalid.GetValue(), out.Template+"=") {
				return usagef("--output: %w", invalid.Unwrap()) // what is wrong with the template
			}
		}
		return usagef("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &usageError{err}
	}
	if err := a.mistypedCommand(cmd); err != nil {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := nearest(unknown.GetSpecifiedName(), known); near != "" {
		return usagef("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// wanted is what a flag of a type takes, with an example.
func wanted(kind string) string {
	switch kind {
	case "duration":
		return "a duration such as 30s or 5m"
	case "int", "int64":
		return "a whole number such as 3"
	case pauseFlag{}.Type():
		return kind + ", such as 1s or 1s:5s"
	case "bool":
		return "true or false"
	}
	return kind
}

// mistypedCommand is the error for a word where a command of cmd was meant; nil: there is none.
func (a *app) mistypedCommand(cmd *cobra.Command) error {
	_, rest, err := cmd.Root().Find(a.args)
	switch {
	case err != nil || !cmd.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-"):
		return nil
	case cmd.Annotations[wraps] != "" && (slices.Contains(a.args, "--") || nearestVerb(cmd, rest[0]) == ""):
		return nil // it is the name of a lock or an election
	}
	return unknownCommand(cmd, rest)
}

// unknownCommand is the Args of a command that has subcommands and runs by itself, too.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if group := groupOf(cmd, args[0]); group != "" {
		return usagef("unknown command %q for %q; did you mean %[2]s %s %s?", args[0], cmd.CommandPath(), group, strings.Join(args, " "))
	}
	if near := nearestVerb(cmd, args[0]); near != "" {
		return usagef("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
}

// etcdctlCommands are those of etcdctl that are not the program's own as well.
var etcdctlCommands = []string{
	"alarm", "auth", "check", "compaction", "defrag", "downgrade", "endpoint",
	"make-mirror", "member", "move-leader", "role", "txn", "user",
}

// groupOf is the command of the program that a word is a command of, or "": dev or ctl.
func groupOf(cmd *cobra.Command, word string) string {
	if cmd.HasParent() {
		return ""
	}
	if slices.Contains(etcdctlCommands, word) {
		return "ctl"
	}
	for _, group := range cmd.Commands() {
		for _, c := range group.Commands() {
			if c.Name() == word {
				return group.Name()
			}
		}
	}
	return ""
}

// needs is the Args of a command that takes least to most arguments, as devctl.Needs has it.
func needs(ask string, least, most int) cobra.PositionalArgs {
	return usageArgs(devctl.Needs(ask, least, most))
}

// usageArgs makes an error about arguments a usage error.
func usageArgs(check func(args []string) error) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if err := check(args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// exclusive is a usage error if more than one of some flags is set.
func exclusive(cmd *cobra.Command, names ...string) error {
	var set []string
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			set = append(set, "--"+name)
		}
	}
	if len(set) > 1 {
		return usagef("%s exclude one another", strings.Join(set, " and "))
	}
	return nil
}

// paragraphs is the long help of a command.
func paragraphs(texts ...string) string { return out.Wrap(strings.Join(texts, "\n\n"), helpWidth, 0) }

// helpWidth is that of the smallest usual terminal.
const helpWidth = 80

// usageTemplate is cobra's, with flags that fit helpWidth, and without those that say where the cluster is: each command
// has these, and "help cluster" lists them.
func usageTemplate(template string) string {
	template = strings.Replace(template, `{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}`, `{{with (ownFlags .)}}{{if .HasAvailableFlags}}

Flags:
{{.FlagUsages | trimTrailingWhitespaces}}{{end}}{{end}}{{with (connectionFlags .)}}{{if .HasAvailableFlags}}

Cluster flags: --endpoints, --context, --user, …: see 'etcdkit help cluster'{{end}}{{end}}`, 1)
	template = strings.Replace(template, "{{rpad .CommandPath .CommandPathPadding}}", "{{.Root.Name}} help {{.Name}} ", 1) // of a topic
	return strings.ReplaceAll(template, ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", helpWidth))
}

// printUsage prints the usage of a command.
func printUsage(cmd *cobra.Command) error {
	t, err := template.New("usage").Funcs(template.FuncMap{
		"ownFlags": ownFlags, "connectionFlags": connectionFlags,
		"rpad":                    func(s string, width int) string { return fmt.Sprintf("%-*s", width, s) },
		"trimTrailingWhitespaces": func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) },
	}).Parse(usageTemplate(cmd.UsageTemplate()))
	if err != nil {
		return err
	}
	return t.Execute(cmd.OutOrStderr(), cmd)
}

// nearestVerb is the command of cmd that was probably meant by a word; "" where none is like it.
func nearestVerb(cmd *cobra.Command, word string) string {
	var known []string
	for _, c := range cmd.Commands() {
		if slices.Contains(c.SuggestFor, word) {
			return c.Name()
		}
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	return nearest(word, known)
}

// nearest is the known name that was probably meant: the one with the fewest letters to change, two at most and one
// in a short name, or one that begins so. A single letter is like none.
func nearest(name string, known []string) string {
	name = strings.ToLower(name)
	if len(name) < 2 {
		return ""
	}
	best, least := "", 3
	if len(name) < 4 {
		least = 2
	}
	for _, k := range known {
		d := distance(name, strings.ToLower(k))
		if d >= least && best == "" && strings.HasPrefix(strings.ToLower(k), name) {
			best = k
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// checkOutput checks -o; the first of known is the default.
func checkOutput(got string, known ...string) error {
	for _, k := range known {
		if got == k {
			return nil
		}
	}
	return usagef("output %q: want %s", got, strings.Join(known, " or "))
}

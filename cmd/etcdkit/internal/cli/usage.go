package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

// flagError suggests the nearest flag for an unknown one.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), invalid.GetFlag().Value.Type())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &usageError{err}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := nearest(unknown.GetSpecifiedName(), known); near != "" {
		return usagef("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// unknownCommand is the Args of a command that has subcommands and runs by itself, too.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if group := groupOf(cmd, args[0]); group != "" {
		return usagef("unknown command %q for %q; did you mean %[2]s %s %s?", args[0], cmd.CommandPath(), group, strings.Join(args, " "))
	}
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	if near := nearest(args[0], known); near != "" {
		return usagef("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
}

// etcdctlCommands are those of etcdctl that are not the program's own as well.
var etcdctlCommands = []string{
	"alarm", "auth", "check", "compaction", "defrag", "del", "downgrade", "elect", "endpoint", "get", "lease", "lock",
	"make-mirror", "member", "move-leader", "put", "role", "snapshot", "txn", "user", "watch",
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

// paragraphs is the long help of a command.
func paragraphs(texts ...string) string { return out.Wrap(strings.Join(texts, "\n\n"), helpWidth, 0) }

// helpWidth is that of the smallest usual terminal.
const helpWidth = 80

// wrapFlags is a usage template whose flags fit helpWidth, too.
func wrapFlags(template string) string {
	return strings.ReplaceAll(template, "Flags.FlagUsages", fmt.Sprintf("Flags.FlagUsagesWrapped %d", helpWidth))
}

// nearest is the known name that was probably meant: the one with the fewest letters to change, two at most,
// or one that begins so.
func nearest(name string, known []string) string {
	name = strings.ToLower(name)
	best, least := "", 3
	for _, k := range known {
		d := distance(name, strings.ToLower(k))
		if d >= least && best == "" && name != "" && strings.HasPrefix(strings.ToLower(k), name) {
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

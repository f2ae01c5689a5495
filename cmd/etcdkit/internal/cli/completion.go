package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/shells"
)

const powerShell = "powershell"

// completionShells are the shells that have a script: those of package shells, and cobra's for PowerShell.
func completionShells() []string { return append(shells.Names(), powerShell) }

func newCompletion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "completion SHELL", Short: "print the script that completes command lines in a shell",
		Long: paragraphs(
			"Prints what bash, zsh, fish or powershell needs to complete commands, flags, and names that are there now: of keys (one level at a time), locks, elections, services and their instances, leases, contexts, and members of a dev cluster.",
			"The names come from the cluster that the line means so far, by --endpoints and the like. A Tab takes 150 ms at most: if etcd has not answered by then, it offers no names. It never runs what is typed, as $(date). Names that a terminal cannot show, or that would be flags, are left out; others are quoted where they must be.",
			"The script for bash needs nothing else, and the package bash-completion only so that CMD behind -- is completed as that command is. PowerShell gets names without special characters only."),
		Example: "  source <(etcdkit completion bash)  # in ~/.bashrc; or zsh, in ~/.zshrc\n  etcdkit completion fish | source   # in ~/.config/fish/config.fish\n  etcdkit completion zsh > \"${fpath[1]}/_etcdkit\"",
		Args: usageArgs(func(args []string) error {
			if len(args) != 1 || !slices.Contains(completionShells(), args[0]) {
				return fmt.Errorf("which shell? %s", strings.Join(completionShells(), ", "))
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == powerShell {
				return cmd.Root().GenPowerShellCompletionWithDesc(a.out.Stdout())
			}
			return a.out.Printf("%s", shells.Script(args[0]))
		},
	}
	cmd.AddCommand(newCompletionReply(a))
	return cmd
}

// newCompletionReply is what the scripts call: with bash's line, COMP_WORDBREAKS, COMP_TYPE and COLUMNS, or with the
// words of another shell, the one that is typed as the last.
func newCompletionReply(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "reply SHELL WORD…", Short: "what may stand at the cursor, for the scripts", Hidden: true, DisableFlagParsing: true,
		Args: needs("the scripts of 'etcdkit completion' call this", 2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "bash" {
				return a.replyToBash(cmd, append(args[1:], "", "", ""))
			}
			var words []string
			for _, raw := range args[1:] {
				words = append(words, shells.Word(raw))
			}
			last := len(words) - 1
			typed := words[last]
			if args[0] == "fish" {
				words = append(args[1:1+last:1+last], typed) // fish has taken the quotes off the others
			}
			return a.printReply(a.complete(cmd.Context(), words[:last], typed), typed, args[0])
		},
	}
}

// printReply prints a reply for zsh or fish: the kind and where it begins, and a name a line. To fish a name is the
// whole word.
func (a *app) printReply(r completionReply, typed, shell string) error {
	var b strings.Builder
	at, before := r.at, ""
	if r.kind != offersCommand {
		at = len([]rune(typed[:r.at]))
		before = typed[:r.at]
	}
	if shell == "zsh" {
		before = ""
	}
	fmt.Fprintf(&b, "%s %d\n", r.kind, at)
	for _, name := range r.names {
		if about := r.about[name]; about != "" {
			fmt.Fprintf(&b, "%s%s\t%s\n", before, name, about)
		} else {
			fmt.Fprintf(&b, "%s%s\n", before, name)
		}
	}
	return a.out.Printf("%s", b.String())
}

func (a *app) replyToBash(cmd *cobra.Command, args []string) error {
	line, ok := shells.Parse(args[0], args[1])
	if !ok {
		return nil
	}
	r := completionReply{kind: offersFiles}
	if !line.Redirected {
		r = a.complete(cmd.Context(), line.Words, line.Typed)
	}
	if r.kind == offersNames {
		columns, _ := strconv.Atoi(args[3]) // 0 without a terminal
		about := make(map[string]string)
		for i, name := range r.names {
			r.names[i] = line.Typed[:r.at] + name
			about[r.names[i]] = r.about[name]
		}
		if line.Unknown {
			r.names = nil
		}
		var more bool
		if r.names, more = line.Bash(args[2], r.names, about, columns); more {
			r.kind = offersMore
		}
	}
	return a.out.Printf("%s %d\n%s\n", r.kind, r.at, strings.Join(r.names, "\n"))
}

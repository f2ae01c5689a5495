package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/shells"
)

const (
	// completeWithin bounds a completion, from the start of its process: the whole process ends within 150 ms. A shell
	// that stands still is worse than one that suggests nothing.
	completeWithin = 120 * time.Millisecond
	// mostCompletions is how many names a completion offers.
	mostCompletions = 200
	// andMore stands for the names beyond. With it no shell takes what the others begin with for all there is.
	andMore = "…"
)

// completion is what the program learns of a command line that is being typed.
type completion struct {
	quotes bool      // the shell's script quotes names: they may have spaces and the like
	until  time.Time // there is an answer by then, or none

	kind string // what is wanted beside names: files, directories or command; "" is none of them
	at   int    // of command: the words before it. Otherwise the bytes of what is typed that are no part of the names
}

// beginCompletion begins a completion.
func (a *app) beginCompletion(quotes bool) *completion {
	c := &completion{quotes: quotes, until: time.Now().Add(a.completeWithin)}
	if slices.Equal(a.args, os.Args[1:]) { // this process is for nothing else
		c.until = c.until.Add(-processAge())
	}
	return c
}

// Kinds of a reply.
const (
	offersNames       = "names"
	offersMore        = "more" // one name, that goes on: no space behind it
	offersFiles       = "files"
	offersDirectories = "directories"
	offersCommand     = "command" // words of another command, which have their own completion
)

// completionReply is what may stand at the cursor.
type completionReply struct {
	kind  string
	at    int // where the names, the file or the command begin: bytes of the word, or words of the line
	names []string
	about map[string]string // what is said about names
}

// complete finds what may stand where typed is, behind words.
func (a *app) complete(ctx context.Context, words []string, typed string) completionReply {
	var text bytes.Buffer
	c := a.beginCompletion(true)
	b := &app{
		out: out.New(io.Discard, io.Discard), stdin: strings.NewReader(""), self: a.self, completing: c,
		args: append(append([]string{cobra.ShellCompRequestCmd}, words...), typed),
	}
	root := newRoot(b)
	b.completeCommand(root)
	root.SetArgs(b.args)
	root.SetOut(&text)
	root.SetErr(io.Discard)
	r := completionReply{kind: offersNames, about: make(map[string]string)}
	if err := root.ExecuteContext(ctx); err != nil {
		return r
	}
	for line := range strings.Lines(text.String()) {
		name, about, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		r.names = append(r.names, name)
		if about != "" {
			r.about[name] = out.Safe(about)
		}
	}
	r.names = r.names[:max(0, len(r.names)-1)] // the last line is cobra's directive, of which c says more
	if r.at = c.at; c.kind != "" {
		r.kind, r.names = c.kind, nil
	}
	if value := strings.IndexByte(typed, '='); value > 0 && typed[0] == '-' && r.kind != offersCommand { // --flag=value
		r.at += value + 1
	}
	return r
}

// typedBefore are the words of a line that is being typed, without the one at the cursor.
func (a *app) typedBefore() []string { return a.args[1 : len(a.args)-1] }

// completeCommand gives the command that is being typed its completions. Others do not need theirs, and cobra keeps
// those of flags as long as the process lives.
func (a *app) completeCommand(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	cmd, _, err := root.Find(a.typedBefore())
	path := strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")
	if err != nil || cmd == root || path == "help" {
		return // cobra knows the commands
	}
	cmd.DisableFlagParsing = cmd.DisableFlagParsing || cmd.GroupID == groupUpstream // its flags are not known here
	cmd.ValidArgsFunction = a.completeArguments(a.arguments()[path])
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if find := a.flagValue(path, f); find != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, find) // an error would say that there is no such flag
		}
	})
}

// arguments are the completions of a command's arguments, one after the other.
type arguments struct {
	at   []cobra.CompletionFunc
	rest cobra.CompletionFunc // of all that follow
}

// completeArguments completes the arguments of a command, and leaves those behind -- to the command that they are of.
func (a *app) completeArguments(all arguments) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := a.typedBefore()
		dash := slices.Index(before, "--")
		interspersed := cmd.Name() != "run" || cmd.Parent().Name() != "dev" // its command needs no --
		if cmd.Annotations[wraps] != "" && (dash >= 0 || !interspersed) {
			own := len(args) // of the command
			if dash >= 0 {
				own = len(before) - dash - 1
			}
			a.completing.kind, a.completing.at = offersCommand, 1+len(before)-own
			return nil, cobra.ShellCompDirectiveDefault
		}
		find := all.rest
		if len(args) < len(all.at) {
			find = all.at[len(args)]
		}
		if find == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return find(cmd, args, typed)
	}
}

// offer completes by words.
func offer(words ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var fit []string
		for _, word := range words {
			if strings.HasPrefix(word, typed) {
				fit = append(fit, word)
			}
		}
		return fit, noSpace(fit)
	}
}

// offerList completes the last one of words that are separated by commas.
func offerList(words ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var all []string
		for _, word := range words {
			all = append(all, before+word)
		}
		return offer(all...)(cmd, args, typed)
	}
}

// files completes by the shell's own names of files. The file begins behind a text such as "@", if there is one.
func (a *app) files(behind string) cobra.CompletionFunc { return a.paths(offersFiles, behind) }

func (a *app) directories() cobra.CompletionFunc { return a.paths(offersDirectories, "") }

func (a *app) paths(kind, behind string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		a.completing.kind = kind
		if at := strings.Index(typed, behind); at >= 0 {
			a.completing.at = at + len(behind)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// names finds names in a cluster that may stand behind args, where typed is: each with what is said about it behind a
// tab, if anything is.
type names func(ctx context.Context, cli *clientv3.Client, args []string, typed string) ([]string, error)

// live completes by names in the cluster that the flags mean. What goes wrong is no suggestion, and is not said: the line is being typed.
func (a *app) live(find names) cobra.CompletionFunc {
	return a.liveOn(clusterOfLine, find)
}

func (a *app) liveOn(cluster func(cmd *cobra.Command) *place.Flags, find names) cobra.CompletionFunc {
	return a.found(func(ctx context.Context, cmd *cobra.Command, args []string, typed string) ([]string, error) {
		p, err := place.Find(ctx, cluster(cmd), strings.NewReader("")) // a shell's input is not for a password
		if err != nil {
			return nil, err
		}
		defer p.Close()
		return find(ctx, p.Client, args, typed)
	})
}

// found completes by what find finds in time.
func (a *app) found(find func(ctx context.Context, cmd *cobra.Command, args []string, typed string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithDeadline(cmd.Context(), a.completing.until)
		defer cancel()
		found := make(chan []string, 1) // what comes late is not read
		go func() {                     // ends with ctx, or with the process
			all, err := find(ctx, cmd, args, typed)
			if err != nil {
				all = nil
			}
			found <- all
		}()
		select {
		case all := <-found:
			fit := a.fitting(all, typed)
			return fit, noSpace(fit)
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// fitting are the names that begin with what is typed and may be put on a command line.
func (a *app) fitting(all []string, typed string) (fit []string) {
	may := shells.Printable
	if !a.completing.quotes {
		may = shells.Plain
	}
	for _, text := range all {
		name, about, _ := strings.Cut(text, "\t")
		if !strings.HasPrefix(name, typed) || !may(name) {
			continue
		}
		if len(fit) == mostCompletions {
			return append(fit, typed+andMore)
		}
		if about != "" {
			name += "\t" + out.Safe(about)
		}
		fit = append(fit, name)
	}
	return fit
}

// noSpace says that nothing comes behind a name that goes on.
func noSpace(names []string) cobra.ShellCompDirective {
	if slices.ContainsFunc(names, shells.GoesOn) {
		return cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return cobra.ShellCompDirectiveNoFileComp
}

// clusterOfLine is where the flags of a command say that its cluster is.
func clusterOfLine(cmd *cobra.Command) *place.Flags { return flagsOfLine(cmd, "endpoints", "") }

// destinationOf is the cluster that copy writes to.
func destinationOf(cmd *cobra.Command) *place.Flags {
	f := flagsOfLine(cmd, "to", "to-")
	if f.Apart = true; len(f.Endpoints) == 0 && f.Context == "" {
		return clusterOfLine(cmd)
	}
	return f
}

func flagsOfLine(cmd *cobra.Command, endpoints, prefix string) *place.Flags {
	text := func(name string) string {
		value, _ := cmd.Flags().GetString(prefix + name) // a command without the flag has no value for it
		return value
	}
	f := &place.Flags{
		Context: text("context"), CACert: text("cacert"), Cert: text("cert"), Key: text("key"), User: text("user"), PasswordFile: text("password-file"),
	}
	if cmd.Flags().Changed(endpoints) {
		f.Endpoints, _ = cmd.Flags().GetStringSlice(endpoints)
	}
	f.InsecurePlaintextPassword, _ = cmd.Flags().GetBool("insecure-plaintext-password")
	return f
}

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

func newCtx(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ctx", Short: "clusters by name: which there are, and which is in use",
		Long: paragraphs(
			"A context is a name for a cluster: its endpoints, certificates, user and the file of a password. Contexts are files in $XDG_CONFIG_HOME/etcdkit/contexts (~/.config when it is not set), and have no secrets in them.",
			"Which cluster a command works on, the first that is there: --endpoints and the other flags; --context or ETCDKIT_CONTEXT; ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS, with the variables that go with them; the context in use; an etcdkit dev that runs; localhost:2379. While it runs, etcdkit dev has a context of its own: dev, or dev-PORT on other ports than the usual ones."),
		Example: "  etcdkit ctx add prod --endpoints https://10.0.0.1:2379 --cacert ca.pem\n  etcdkit ctx use prod\n  etcdkit ctx import k8s --kubeadm /etc/kubernetes/pki/etcd",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCtxLs(a), newCtxUse(a), newCtxAdd(a), newCtxRemove(a), newCtxImport(a))
	return cmd
}

// contextJSON is a context as ctx ls prints it.
type contextJSON struct {
	Name  string `json:"name"`
	InUse bool   `json:"in_use"`
	*place.Context
}

func newCtxLs(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "the contexts; * marks the one in use", Args: needs("", 0, 0),
		Example: "  etcdkit ctx ls\n  etcdkit ctx ls -o json\n  etcdkit ctx ls -o value",
		RunE:    func(*cobra.Command, []string) error { return a.ctxLs(format) },
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return cmd
}

func (a *app) ctxLs(format out.Format) error {
	store, err := place.OpenContexts()
	if err != nil {
		return err
	}
	names, err := store.Names()
	if err != nil {
		return err
	}
	current, err := store.Current()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		a.say("no contexts; etcdkit ctx add NAME --endpoints … makes one")
	}
	list := a.out.Records(format, "", "NAME", "ENDPOINTS", "USER")
	for _, name := range names {
		c, err := store.Get(name)
		if err != nil {
			a.out.Talkf("etcdkit: context %s: %v", name, err) // and the others are shown
			continue
		}
		mark, colour := "", out.Plain
		if name == current {
			mark, colour = "*", out.Bold
		}
		err = list.Add(out.Record{
			Row:   []out.Cell{{Text: mark}, {Text: name, Colour: colour}, {Text: out.Safe(strings.Join(c.Endpoints, ","))}, {Text: out.Safe(c.User)}},
			Value: []byte(name),
			JSON:  contextJSON{name, name == current, c},
		})
		if err != nil {
			return err
		}
	}
	return list.Close()
}

func newCtxUse(a *app) *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use: "use NAME", Short: "say which context commands use from now on", Args: needs("which context? etcdkit ctx ls has them", 0, 1),
		Example: "  etcdkit ctx use prod\n  etcdkit ctx use dev\n  etcdkit ctx use --none",
		RunE: func(_ *cobra.Command, args []string) error {
			if none == (len(args) == 1) {
				return usagef("which context? etcdkit ctx ls has them; --none uses none")
			}
			store, err := place.OpenContexts()
			if err != nil {
				return err
			}
			if none {
				return store.Use("")
			}
			return contextError(store, args[0], store.Use(args[0]))
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "use none")
	return cmd
}

// contextError is what a person reads of an error about a context.
func contextError(store *place.Contexts, name string, err error) error {
	if err == nil {
		return nil
	}
	names, _ := store.Names() // without them there is no suggestion
	return contextNotFound(fmt.Errorf("context %q: %w", name, err), name, names)
}

// contextNotFound adds to an error about a context which name was probably meant, and the exit code.
func contextNotFound(err error, name string, known []string) error {
	if near := nearest(name, known); near != "" && near != name {
		return notFoundf("%w; did you mean %s?", err, near)
	}
	return coded(ExitNotFound, err)
}

func newCtxAdd(a *app) *cobra.Command {
	var f *place.Flags
	var use, force bool
	cmd := &cobra.Command{
		Use: "add NAME --endpoints ENDPOINTS", Short: "give a cluster a name", Args: needs("which name?", 1, 1),
		Long:    paragraphs("Gives a cluster a name. Nothing is sent to it. Files are kept by their whole path, and a password by its file: it is not copied."),
		Example: "  etcdkit ctx add prod --endpoints https://10.0.0.1:2379 --cacert ca.pem\n  etcdkit ctx add test --endpoints 10.1.0.1:2379 --user ops --password-file .pw\n  etcdkit ctx add prod --endpoints https://etcd.example:2379 --force --use",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range notInContexts {
				if cmd.Flags().Changed(name) {
					return usagef("--%s: a context does not have it", name)
				}
			}
			c, err := contextOf(f)
			if err != nil {
				return err
			}
			return a.addContext(args[0], c, use, force)
		},
	}
	f = clusterFlags(cmd)
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { delete(flag.Annotations, clusterFlag) }) // here they are what it is about
	for _, name := range notInContexts {
		_ = cmd.Flags().MarkHidden(name) // they exist
	}
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on, too")
	cmd.Flags().BoolVar(&force, "force", false, "replace one of the same name")
	return cmd
}

// notInContexts are the flags of a cluster that a context does not have.
var notInContexts = []string{"context", "dial-timeout", "insecure-plaintext-password"}

// contextOf is the context that flags describe.
func contextOf(f *place.Flags) (*place.Context, error) {
	if len(f.Endpoints) == 0 {
		return nil, usagef("which cluster? as in: --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379")
	}
	if f.PasswordFile == "-" {
		return nil, usagef("--password-file -: a context keeps no secret; name a file")
	}
	endpoints, err := client.Endpoints(&client.Options{Endpoints: f.Endpoints, Getenv: func(string) string { return "" }})
	if err != nil {
		return nil, &usageError{err}
	}
	if err := f.CheckUser(); err != nil {
		return nil, &usageError{err}
	}
	c := &place.Context{Endpoints: endpoints, User: f.User}
	for _, file := range []struct {
		to         *string
		flag, name string
	}{{&c.CACert, "--cacert", f.CACert}, {&c.Cert, "--cert", f.Cert}, {&c.Key, "--key", f.Key}, {&c.PasswordFile, "--password-file", f.PasswordFile}} {
		if *file.to, err = wholePath(file.flag, file.name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (a *app) addContext(name string, c *place.Context, use, force bool) error {
	store, err := place.OpenContexts()
	if err != nil {
		return err
	}
	if place.IsDevContext(name) {
		return usagef("context %q: dev and dev-PORT are the names of clusters of etcdkit dev; take another one", name)
	}
	if _, err := store.Get(name); !force && !errors.Is(err, place.ErrNoContext) && !errors.Is(err, place.ErrContextName) { // also one that cannot be read
		return usagef("there is a context %q already; --force replaces it", name)
	}
	if err := store.Put(name, c); errors.Is(err, place.ErrContextName) {
		return &usageError{err}
	} else if err != nil {
		return err
	}
	next := "etcdkit ctx use " + name + " uses it"
	if use {
		if err := store.Use(name); err != nil {
			return err
		}
		next = "in use from now on"
	}
	return a.out.Resultf("context %s: %s (%s)", name, strings.Join(c.Endpoints, ","), next)
}

func newCtxRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Aliases: []string{"remove"}, Short: "remove a context; its cluster and its files stay", Args: needs("which context? etcdkit ctx ls has them", 1, 1),
		Example: "  etcdkit ctx rm staging\n  etcdkit ctx rm dev-12379\n  etcdkit ctx ls -o value | grep ^test | xargs -n1 etcdkit ctx rm",
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := place.OpenContexts()
			if err != nil {
				return err
			}
			if c, err := store.Get(args[0]); err == nil && c.DevRuns() {
				return usagef("context %q is of an etcdkit dev that runs: it goes when that ends", args[0])
			}
			return contextError(store, args[0], store.Remove(args[0]))
		},
	}
}

package place

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/input"
)

// Flags say on the command line where the cluster is. The zero value says nothing: what counts then is the
// environment, the context in use, and a running dev cluster, in this order.
type Flags struct {
	Context      string // a name of Contexts
	Endpoints    []string
	CACert       string
	Cert, Key    string
	User         string
	PasswordFile string // "-" is stdin
	Timeout      time.Duration
	DialOptions  []grpc.DialOption // as client.Options has them

	InsecurePlaintextPassword bool

	// Prompt, if not nil, prints what is asked for on a terminal, where the password is read from one.
	Prompt func(text string)

	// Waiting, if not nil, is called before the first question to etcd, and what it returns after the answer.
	Waiting func() (done func())

	password string // that stdin had: a second Find has nothing to read there

	// Apart says that it is another cluster than that of the environment, whose settings are not right for it.
	Apart bool
}

// ErrNoEndpoints means that Flags have endpoints, and none of them has a text.
var ErrNoEndpoints = errors.New("no address: want host:port, or leave the flag out")

// Find connects to the cluster that flags, a context or the environment name, or to a running dev cluster. It
// never starts one. If no member answers, the error is client.ErrUnreachable. stdin is read for a password
// only, where the flags say so.
func Find(ctx context.Context, flags *Flags, stdin io.Reader) (*Place, error) {
	return find(ctx, flags, stdin, func(opts *client.Options) (*clientv3.Client, error) { return client.Dial(ctx, opts) })
}

// FindLater is Find for a command that goes on while no member answers: it asks none.
func FindLater(ctx context.Context, flags *Flags, stdin io.Reader) (*Place, error) {
	return find(ctx, flags, stdin, client.New)
}

func find(ctx context.Context, flags *Flags, stdin io.Reader, open func(*client.Options) (*clientv3.Client, error)) (*Place, error) {
	opts, from, err := flags.options(ctx, stdin)
	if err != nil {
		return nil, err
	}
	p := new(Place)
	if p.TLS, err = client.TLSConfig(opts); err != nil {
		return nil, from.name(err)
	}
	if flags.Waiting != nil {
		defer flags.Waiting()()
	}
	if p.Client, err = open(opts); err != nil {
		return nil, from.name(err)
	}
	p.Endpoints = p.Client.Endpoints()
	return p, nil
}

// ErrPasswordInUser means that the user of Flags has a password in it: all users of a machine can read its command lines.
var ErrPasswordInUser = errors.New("want the name alone: others can read a command line; the password goes into a file, or into ETCDKIT_PASSWORD")

// CheckUser refuses a user with a password. ETCDKIT_USER may have one.
func (f *Flags) CheckUser() error {
	name, _, with := strings.Cut(f.User, ":")
	if !with {
		return nil
	}
	return fmt.Errorf("%s %s:…: %w", f.flag("user"), name, ErrPasswordInUser)
}

// flag is how a flag is called on the command line.
func (f *Flags) flag(name string) string {
	if f.Apart {
		return "--to-" + name
	}
	return "--" + name
}

// endpointsFlag is how the flag of the endpoints is called.
func (f *Flags) endpointsFlag() string {
	if f.Apart {
		return "--to"
	}
	return "--endpoints"
}

// options are those of the client that Find opens, and where its endpoints are from.
func (f *Flags) options(ctx context.Context, stdin io.Reader) (_ *client.Options, from source, err error) {
	if err := f.CheckUser(); err != nil {
		return nil, from, err
	}
	opts := &client.Options{
		Endpoints: f.Endpoints, CACert: f.CACert, Cert: f.Cert, Key: f.Key, User: f.User, Timeout: f.Timeout,
		InsecurePlaintextPassword: f.InsecurePlaintextPassword, DialOptions: f.DialOptions,
	}
	c, from, err := f.context()
	if err != nil {
		return nil, from, err
	}
	if f.Endpoints != nil {
		if from = (source{flag: f.endpointsFlag()}); strings.TrimSpace(strings.Join(f.Endpoints, "")) == "" {
			return nil, from, fmt.Errorf("%s: %w", from.flag, ErrNoEndpoints)
		}
	} else if c != nil {
		opts.Endpoints = c.Endpoints
		opts.CACert, opts.Cert, opts.Key = cmp.Or(f.CACert, c.CACert), cmp.Or(f.Cert, c.Cert), cmp.Or(f.Key, c.Key)
	}
	if f.Apart {
		opts.Getenv = func(string) string { return "" }
	}
	passwordFile := f.PasswordFile
	if c != nil {
		opts.Getenv = c.getenv
		if f.Apart {
			opts.Getenv = c.alone
		}
		if passwordFile == "" && f.User == "" {
			passwordFile = c.PasswordFile
		}
	}
	if passwordFile == "" {
		return opts, from, nil
	}
	if passwordFile == "-" && f.password != "" {
		opts.Password = f.password
		return opts, from, nil
	}
	if opts.Password, err = f.readPassword(ctx, passwordFile, stdin); err != nil {
		return nil, from, err
	}
	if passwordFile == "-" {
		f.password = opts.Password
	}
	return opts, from, nil
}

// ContextError means that a context cannot be read; often there is none of this name.
type ContextError struct {
	Name  string
	Known []string // the names of all
	from  string   // "--context", "ETCDKIT_CONTEXT" or "in use"
	err   error
}

func (e *ContextError) Error() string {
	return fmt.Sprintf("context %q (%s): %v", e.Name, e.from, e.err)
}
func (e *ContextError) Unwrap() error { return e.err }

// context is the one that counts, or nil. That of the flags or of ETCDKIT_CONTEXT counts before the variables
// of the environment, and these before the context in use. Endpoints on the command line are of another
// cluster than ETCDKIT_CONTEXT or the context in use: only a context that is named beside them goes with them.
func (f *Flags) context() (*Context, source, error) {
	name, from := f.Context, f.flag("context")
	if name == "" && (f.Apart || f.Endpoints != nil) {
		return nil, source{}, nil
	}
	if name == "" {
		name, from = os.Getenv("ETCDKIT_CONTEXT"), "ETCDKIT_CONTEXT"
	}
	store, err := OpenContexts()
	if err != nil {
		if name == "" {
			return nil, source{variable: Variable()}, nil // no home directory, and no context asked for
		}
		return nil, source{}, err
	}
	if name == "" {
		if variable := Variable(); variable != "" {
			return nil, source{variable: variable}, nil
		}
		if name, err = store.Current(); name == "" || err != nil {
			return nil, source{}, err
		}
		from = "in use"
	}
	c, err := store.Get(name)
	if err != nil {
		known, _ := store.Names() // without them there is no suggestion
		return nil, source{}, &ContextError{name, known, from, err}
	}
	return c, source{context: fmt.Sprintf("context %q (%s)", name, from)}, nil
}

// longestPassword bounds what is read of a password file.
const longestPassword = 4 << 10

// readPassword reads the first line of a file, or of stdin.
func (f *Flags) readPassword(ctx context.Context, name string, stdin io.Reader) (string, error) {
	var line string
	var err error
	switch {
	case name == "-" && input.IsTerminal(stdin):
		if f.Prompt != nil {
			f.Prompt("etcdkit: password (it is not shown): ")
			defer f.Prompt("\n")
		}
		line, err = input.Secret(ctx, stdin)
	case name == "-":
		line, err = firstLine(input.Until(ctx, stdin))
	default:
		file, errOpen := os.Open(name)
		if errOpen != nil {
			return "", fmt.Errorf("password file: %w", errOpen)
		}
		defer file.Close()
		line, err = firstLine(file)
	}
	if err != nil {
		return "", fmt.Errorf("password file %s: %w", name, err)
	}
	if line == "" {
		return "", fmt.Errorf("password file %s: its first line is empty", name)
	}
	return line, nil
}

// firstLine reads a line, and not a byte more: what follows on stdin is for another reader, such as the command of a
// wrapper.
func firstLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) <= longestPassword; {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' || n == 0 && errors.Is(err, io.EOF) {
			return strings.TrimRight(string(line), "\r"), nil
		}
		if n == 0 && err != nil {
			return "", err
		}
		line = append(line, one[:n]...)
	}
	return "", fmt.Errorf("its first line has more than %d bytes", longestPassword)
}

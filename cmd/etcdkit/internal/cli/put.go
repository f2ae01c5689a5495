package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/input"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// putFlags are those of put.
type putFlags struct {
	format                   out.Format
	lease                    string
	cas                      string // a revision; "": any
	prevKV                   bool
	ignoreValue, ignoreLease bool

	value    string
	leaseID  clientv3.LeaseID
	revision int64 // of cas
}

func newPut(a *app) *cobra.Command {
	p := new(putFlags)
	cmd := &cobra.Command{
		Use: "put KEY VALUE|-|@FILE", SuggestFor: []string{"set", "write"}, Short: "write a key",
		Long: paragraphs(
			"Writes a value and prints the revision that it made. The value - is read from stdin, and @FILE from a file, to the byte. Behind -- a value is taken as it is: 'put KEY -- -5', 'put KEY -- @home'.",
			"With --cas the key is written only if its last change is of this revision, as get -l shows it; 0: only if it does not exist. Otherwise nothing is written, the exit code is 3, and the message has the key's revision.",
			"A key without --lease loses the lease that it had; --ignore-lease keeps it."),
		Example: "  etcdkit put config/timeout 30s\n  etcdkit put config/nginx.conf @nginx.conf\n  etcdkit put config/leader \"$HOSTNAME\" --cas 0",
		Args:    needs("put needs a key and a value: put KEY VALUE. The value - is read from stdin, and @FILE from a file", 1, 2),
		PreRunE: func(cmd *cobra.Command, args []string) error { return a.checkPut(cmd, args, p) },
	}
	flags := cmd.Flags()
	formatFlag(cmd, &p.format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags.StringVar(&p.cas, "cas", "", "only if the key's last change is of this revision; 0: only if it does not exist")
	flags.StringVar(&p.lease, "lease", noLeaseID, "the lease (hexadecimal) that the key ends with; 0: none")
	flags.BoolVar(&p.prevKV, "prev-kv", false, "print the key as it was, too")
	flags.BoolVar(&p.ignoreValue, "ignore-value", false, "keep the value that the key has")
	flags.BoolVar(&p.ignoreLease, "ignore-lease", false, "keep the lease that the key has")
	cmd.SetFlagErrorFunc(a.putFlagError)
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.put(ctx, cli, args[0], p)
	})
}

// putFlagError tells what to do with a value that looks like a flag.
func (a *app) putFlagError(cmd *cobra.Command, err error) error {
	err = a.flagError(cmd, err)
	if text := err.Error(); strings.HasPrefix(text, "unknown ") {
		return usagef("%w. A value that begins with a dash goes behind --, as in 'put KEY -- -5', or into a file: put KEY @FILE", err)
	}
	return err
}

// checkPut refuses what makes no sense, and reads the value.
func (a *app) checkPut(cmd *cobra.Command, args []string, p *putFlags) (err error) {
	if args[0] == "" {
		return usagef("the key is empty")
	}
	if p.lease != noLeaseID {
		if p.leaseID, err = leaseID(p.lease); err != nil {
			return err
		}
	}
	if p.ignoreLease && p.leaseID != 0 {
		return usagef("--lease and --ignore-lease exclude one another")
	}
	if p.cas != "" {
		if p.revision, err = strconv.ParseInt(p.cas, 10, 64); err != nil || p.revision < 0 {
			return usagef("--cas %q: want a revision, or 0", p.cas)
		}
	}
	if p.ignoreValue {
		if len(args) == 2 {
			return usagef("--ignore-value keeps the value that the key has: want no other one")
		}
		return nil
	}
	if len(args) == 1 {
		return usagef("what value? - reads it from stdin, and @FILE from a file")
	}
	dash := cmd.ArgsLenAtDash()
	p.value, err = a.readValue(cmd, args[1], dash >= 0 && dash <= 1)
	return err
}

// noLeaseID is what is printed and taken for no lease.
const noLeaseID = "0"

// mostValue bounds what is read for a value. etcd takes 1.5 MiB, unless its members are told otherwise.
const mostValue = 64 << 20

// readValue is the value that an argument means.
func (a *app) readValue(cmd *cobra.Command, arg string, literal bool) (string, error) {
	switch {
	case literal || arg != "-" && !strings.HasPrefix(arg, "@"):
		return arg, nil
	case arg == "-":
		if f := cmd.Flags().Lookup("password-file"); f != nil && f.Value.String() == "-" {
			return "", usagef("stdin can be the password or the value, not both")
		}
		return readBounded(cmd.Context(), "stdin", a.typed(cmd.Context(), "the value"))
	}
	f, err := os.Open(arg[1:])
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("value: %w; for a value that begins with @ put -- before it", err)
	}
	if err != nil {
		return "", fmt.Errorf("value: %w", err)
	}
	defer f.Close()
	return readBounded(cmd.Context(), arg[1:], input.Until(cmd.Context(), f))
}

// readBounded reads all. r ends with ctx.
func readBounded(ctx context.Context, name string, r io.Reader) (string, error) {
	all, err := io.ReadAll(io.LimitReader(r, mostValue+1))
	switch {
	case ctx.Err() != nil:
		return "", interrupted(ctx, ctx.Err())
	case err != nil:
		return "", fmt.Errorf("value from %s: %w", name, err)
	case len(all) > mostValue:
		return "", fmt.Errorf("value from %s: more than %d MiB; etcd takes 1.5 MiB by default", name, mostValue>>20)
	}
	return string(all), nil
}

// putJSON is what put has done.
type putJSON struct {
	Revision int64    `json:"revision"`
	Previous *keyJSON `json:"previous,omitempty"` // with --prev-kv; absent if the key did not exist
}

func (a *app) put(ctx context.Context, cli *clientv3.Client, key string, p *putFlags) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []clientv3.OpOption
	if p.leaseID != 0 {
		opts = append(opts, clientv3.WithLease(p.leaseID))
	}
	if p.prevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	if p.ignoreValue {
		opts = append(opts, clientv3.WithIgnoreValue())
	}
	if p.ignoreLease {
		opts = append(opts, clientv3.WithIgnoreLease())
	}
	write := p.write
	if p.cas != "" {
		write = p.compareAndWrite
	}
	revision, previous, err := write(ctx, cli, clientv3.OpPut(key, p.value, opts...))
	if err != nil {
		return putError(key, p, err)
	}
	record := out.Record{Value: fmt.Append(nil, revision)}
	result := putJSON{Revision: revision}
	row := fmt.Sprintf("revision %d", revision)
	if previous != nil {
		before := new(keyPrinter).json(previous)
		result.Previous = &before
		row += fmt.Sprintf("; before, of revision %d: %s", previous.ModRevision, out.Safe(string(previous.Value)))
	}
	if p.format.Is(out.Table) {
		return a.out.Printf("%s\n", row)
	}
	record.JSON = result
	return a.out.Record(p.format, nil, record)
}

// write writes the key.
func (p *putFlags) write(ctx context.Context, cli *clientv3.Client, op clientv3.Op) (revision int64, previous *mvccpb.KeyValue, err error) {
	resp, err := cli.Do(ctx, op)
	if err != nil {
		return 0, nil, err
	}
	return resp.Put().Header.Revision, resp.Put().PrevKv, nil
}

// compareAndWrite writes the key if it is of the revision that --cas says.
func (p *putFlags) compareAndWrite(ctx context.Context, cli *clientv3.Client, op clientv3.Op) (revision int64, previous *mvccpb.KeyValue, err error) {
	key := string(op.KeyBytes())
	resp, err := cli.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", p.revision)).Then(op).Else(clientv3.OpGet(key, clientv3.WithKeysOnly())).Commit()
	if err != nil {
		return 0, nil, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, resp.Responses[0].GetResponsePut().PrevKv, nil
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	switch {
	case len(kvs) == 0:
		return 0, nil, notFoundf("not written: key %s does not exist, and was expected at revision %d", quote.Text(key), p.revision)
	case p.revision == 0:
		return 0, nil, notFoundf("not written: key %s exists, at revision %d", quote.Text(key), kvs[0].ModRevision)
	}
	return 0, nil, notFoundf("not written: key %s is at revision %d, not %d", quote.Text(key), kvs[0].ModRevision, p.revision)
}

// putError says what a person can do about a failure.
func putError(key string, p *putFlags, err error) error {
	var with *codedError
	switch {
	case errors.As(err, &with):
		return err
	case errors.Is(err, rpctypes.ErrRequestTooLarge), strings.Contains(err.Error(), "trying to send message larger than max"):
		return fmt.Errorf("put %s: a value of %d bytes is too large: etcd takes 1.5 MiB, unless its members run with a larger --max-request-bytes", quote.Text(key), len(p.value))
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return notFoundf("put %s: there is no lease %s", quote.Text(key), out.Hex(p.leaseID))
	case errors.Is(err, rpctypes.ErrKeyNotFound):
		return notFoundf("put %s: the key does not exist, and has no value or lease to keep", quote.Text(key))
	case ask.ClassOf(err) == ask.Ambiguous:
		return &unsureError{fmt.Errorf("put %s: %w", quote.Text(key), err), "it may have been written all the same"}
	}
	return fmt.Errorf("put %s: %w", quote.Text(key), err)
}

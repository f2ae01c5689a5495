package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// LeasePolicy is what Import does with keys on leases.
type LeasePolicy string

// Lease policies.
const (
	// RemakeLeases grants a lease for each one of the file, with its TTL, as is the zero value.
	RemakeLeases LeasePolicy = "remake"
	// SkipLeased leaves keys on leases out.
	SkipLeased LeasePolicy = "skip"
	// DropLeases makes keys without a lease of them, which stay until they are deleted.
	DropLeases LeasePolicy = "drop"
)

// ImportOptions of Import. nil and the zero value are the defaults.
type ImportOptions struct {
	// Overwrite replaces keys that exist and are different. Otherwise they are kept and counted, unlike those of Copy,
	// which always writes over: a file can be old.
	Overwrite bool
	// DryRun finds out what there is to do, and writes nothing.
	DryRun bool
	// Leases says what happens to keys on leases. Default RemakeLeases.
	Leases LeasePolicy
	// FromPrefix is what every key must begin with, and ToPrefix what it begins with instead when it is written. Both
	// empty: keys stay as they are.
	FromPrefix, ToPrefix string
	// Partial also takes a file that has fewer records than its header says, as after grep.
	Partial bool

	// Each is called for each key, as it is written, with what was done; with DryRun, what would be. It may be nil.
	Each func(key string, a Action)
	// Progress is called from time to time. It may be nil.
	Progress func(Progress)
}

// Import writes the records of r, as Export.Write writes them, or JSON lines with a key and a value each. It reads what
// exists first and writes only what differs, in transactions that compare: a key that another client changes at the
// same time is looked at again. So it can be repeated, and continues where it was interrupted. It is not one
// transaction: other clients see parts of it meanwhile. A key that exists and is different is kept, without
// ImportOptions.Overwrite; Copy writes over it.
//
// Bad input is an ErrInvalid with its line; a file that was cut off is an ErrIncomplete. If r is an io.Seeker, as a file is, all
// of it is checked before anything is written; otherwise the records before a bad one are written.
//
// New leases are kept alive until Import returns. Then their TTLs run, and nothing renews them. If one ends before, as in
// an outage that is longer than its TTL, Import writes the rest and then fails with ErrLeaseEnded. A key that exists with
// the same value, and is on any lease, is not written again. Keys whose lease had ended when they were exported are skipped.
//
// Import goes on for 30 s while no member answers. ctx does not interrupt a Read of r that blocks.
func Import(ctx context.Context, cli *clientv3.Client, r io.Reader, opts *ImportOptions) (Counts, error) {
	var o ImportOptions
	if opts != nil {
		o = *opts
	}
	var counts Counts
	if err := o.check(); err != nil {
		return counts, err
	}
	if err := o.checkFile(ctx, r, &counts); err != nil {
		return counts, err
	}
	w := &writer{
		retrier: retrier{etcd: ask.Of(cli), patience: patience}, cli: cli, leases: newLeases(cli), unsure: make(map[string]bool),
		overwrite: o.Overwrite, dry: o.DryRun, counts: &counts, each: o.Each,
	}
	if o.Progress != nil {
		w.waiting = func(why error) { o.Progress(Progress{Counts: counts, Waiting: why}) }
		w.done = func() { o.Progress(Progress{Counts: counts}) }
	}
	defer w.leases.close()
	if err := o.write(ctx, w, r); err != nil {
		return counts, err
	}
	return counts, nil
}

func (o *ImportOptions) check() error {
	switch o.Leases {
	case "":
		o.Leases = RemakeLeases
	case RemakeLeases, SkipLeased, DropLeases:
	default:
		return fmt.Errorf("%w: import: leases %q: want %s, %s or %s", ErrInvalid, o.Leases, RemakeLeases, SkipLeased, DropLeases)
	}
	return nil
}

// checkFile reads a file from where it is to its end, and goes back.
func (o *ImportOptions) checkFile(ctx context.Context, r io.Reader, counts *Counts) error {
	file, ok := r.(io.Seeker)
	if !ok {
		return nil
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe is an *os.File, too
	}
	records := newRecordReader(r)
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return errtext.Errorf("keys: import: %w", context.Cause(ctx))
		}
		switch _, err := o.next(records); {
		case errors.Is(err, io.EOF):
			counts.Total = records.records
			if _, err = file.Seek(at, io.SeekStart); err != nil {
				return errtext.Errorf("keys: import: nothing was written: go back to the first record: %w", err)
			}
			return nil
		case err != nil:
			return errtext.Errorf("keys: import: nothing was written: %w", err)
		}
	}
}

// next is a record as it is to be written.
func (o *ImportOptions) next(records *recordReader) (wanted, error) {
	record, err := records.next()
	if o.Partial && errors.Is(err, ErrIncomplete) {
		err = io.EOF
	}
	if err != nil {
		return wanted{}, err
	}
	rest, ok := strings.CutPrefix(string(record.Key), o.FromPrefix)
	if !ok {
		return wanted{}, records.errorf("key %s does not begin with %s", quote.Text(string(record.Key)), quote.Text(o.FromPrefix))
	}
	if o.ToPrefix+rest == "" {
		return wanted{}, records.errorf("key %s would become the empty key", quote.Text(string(record.Key)))
	}
	x := wanted{key: o.ToPrefix + rest, value: string(record.Value), lease: record.Lease, ttl: wholeSeconds(record.LeaseTTL)}
	x.skip = record.LeaseEnded() || record.Lease != 0 && o.Leases == SkipLeased
	if o.Leases == DropLeases {
		x.lease = 0
	}
	return x, nil
}

// write writes all records.
func (o *ImportOptions) write(ctx context.Context, w *writer, r io.Reader) error {
	records := newRecordReader(r)
	for {
		x, err := o.next(records)
		if records.header != nil && w.counts.Total == 0 {
			w.counts.Total = records.header.Count
		}
		end := errors.Is(err, io.EOF)
		switch {
		case end:
			err = w.end(ctx)
		case err != nil: // what came before it is written: the error says up to where
			err = errors.Join(err, w.flush(ctx))
		default:
			err = w.add(ctx, x)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return errtext.Errorf("keys: import: ended after %d keys; again, it goes on there: %w", w.counts.Read, context.Cause(ctx))
		case err != nil:
			return errtext.Errorf("keys: import, after %d keys: %w", w.counts.Read, err)
		case end:
			return nil
		}
	}
}

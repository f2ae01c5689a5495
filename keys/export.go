package keys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	exportBytes   = 4 << 20 // what a page should be long
	exportTimeout = 15 * time.Second

	leasesAtOnce = 16 // requests about leases side by side
)

// ExportOptions of OpenExport. nil and the zero value are the defaults.
type ExportOptions struct {
	// Revision to export. Default: the newest.
	Revision int64
	// Waiting hears why the export waits for etcd, and nil when it goes on. It may be nil.
	Waiting func(error)
}

// Export is everything below a prefix at one revision.
type Export struct {
	Header

	cli   *clientv3.Client
	retry retrier
}

// OpenExport finds out what revision there is and how many keys it has below the prefix; what was committed before the
// call is in it. The empty prefix is all keys. ErrCompacted if etcd no longer has the revision that is asked for.
//
// OpenExport and Records try for 30 s while no member answers.
func OpenExport(ctx context.Context, cli *clientv3.Client, prefix string, opts *ExportOptions) (*Export, error) {
	return openExport(ctx, cli, prefix, opts, patience)
}

// openExport is OpenExport that tries for so long while no member answers.
func openExport(ctx context.Context, cli *clientv3.Client, prefix string, opts *ExportOptions, patience time.Duration) (*Export, error) {
	if opts == nil {
		opts = &ExportOptions{}
	}
	if opts.Revision < 0 {
		return nil, fmt.Errorf("%w: export %q: revision %d", ErrInvalid, prefix, opts.Revision)
	}
	e := &Export{cli: cli, retry: retrier{etcd: ask.Of(cli), patience: patience, waiting: opts.Waiting}}
	var resp *clientv3.GetResponse
	from, end := Prefix(prefix).Bounds()
	err := e.retry.do(ctx, exportTimeout, func(ctx context.Context) (err error) {
		resp, err = cli.Get(ctx, from, clientv3.WithRange(end), clientv3.WithCountOnly(), clientv3.WithRev(opts.Revision))
		return err
	})
	if err != nil {
		return nil, exportError(prefix, opts.Revision, err)
	}
	e.Header = Header{ClusterID: resp.Header.ClusterId, Revision: opts.Revision, Prefix: Bytes(prefix), Count: resp.Count}
	if e.Revision == 0 {
		e.Revision = resp.Header.Revision
	}
	return e, nil
}

func exportError(prefix string, revision int64, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return errtext.New(fmt.Sprintf("%v: export %q at revision %d", ErrCompacted, prefix, revision), ErrCompacted, err)
	case errors.Is(err, rpctypes.ErrFutureRev):
		return errtext.Errorf("%w: export %q: there is no revision %d yet", ErrInvalid, prefix, revision)
	}
	return errtext.Errorf("keys: export %q: %w", prefix, err)
}

// Records are the keys in order. They are read page by page, each as of the export's Revision. The sequence ends
// with at most one error, among them ErrCompacted, and begins again each time.
//
// The TTL of each lease is asked for once.
func (e *Export) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		leases := make(map[clientv3.LeaseID]ttl)
		for page, err := range e.pages(ctx) {
			if err == nil {
				err = e.askForLeases(ctx, page, leases)
			}
			if err != nil {
				yield(Record{}, exportError(string(e.Prefix), e.Revision, err))
				return
			}
			for _, kv := range page {
				lease := leases[clientv3.LeaseID(kv.Lease)]
				record := Record{
					Key: kv.Key, Value: kv.Value, Lease: clientv3.LeaseID(kv.Lease), LeaseTTL: seconds(lease.granted), LeaseRemaining: seconds(lease.left),
					CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
				}
				if !yield(record, nil) {
					return
				}
			}
		}
	}
}

// pages yields the keys in order, page by page. A page shrinks with a slow network.
func (e *Export) pages(ctx context.Context) iter.Seq2[[]*mvccpb.KeyValue, error] {
	from, end := Prefix(string(e.Prefix)).Bounds()
	p := &ask.Pages{From: from, End: end, Revision: &e.Revision, Bytes: exportBytes}
	return func(yield func([]*mvccpb.KeyValue, error) bool) {
		var took time.Duration
		for page, err := range p.Read(func(from string, _ ...clientv3.OpOption) (resp *clientv3.GetResponse, err error) {
			err = e.retry.do(ctx, exportTimeout, func(ctx context.Context) (err error) {
				began := time.Now()
				resp, err = e.cli.Get(ctx, from, p.Options()...)
				if took = time.Since(began); err != nil {
					p.Limit = max(1, p.Limit/4) // it may have been too much for the network
				}
				return err
			})
			if err == nil && resp.Header.ClusterId != e.ClusterID {
				err = fmt.Errorf("the endpoints belong to different clusters, %x and %x", e.ClusterID, resp.Header.ClusterId)
			}
			return resp, err
		}) {
			if took > time.Second {
				p.Limit = max(1, min(p.Limit, int(float64(len(page))*float64(time.Second)/float64(took))))
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

// ttl of a lease, in seconds.
type ttl struct{ granted, left int64 }

// askForLeases adds the leases of a page, several at once.
func (e *Export) askForLeases(ctx context.Context, page []*mvccpb.KeyValue, known map[clientv3.LeaseID]ttl) error {
	var missing []clientv3.LeaseID
	for _, kv := range page {
		id := clientv3.LeaseID(kv.Lease)
		if _, ok := known[id]; !ok {
			known[id] = ttl{}
			if id != 0 {
				missing = append(missing, id)
			}
		}
	}
	answers, err := leaseTTLs(ctx, e.cli, missing)
	for i, answer := range answers {
		known[missing[i]] = answer
	}
	return err
}

// leaseTTLs asks how long leases live, several at once.
func leaseTTLs(ctx context.Context, cli *clientv3.Client, ids []clientv3.LeaseID) ([]ttl, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]ttl, len(ids))
	var asking sync.WaitGroup
	for first := range min(leasesAtOnce, len(ids)) {
		asking.Go(func() { // ends when its share is asked for, or with ctx
			retry := retrier{etcd: ask.Of(cli), patience: patience}
			for i := first; i < len(ids); i += leasesAtOnce {
				var err error
				if answers[i], err = leaseTTL(ctx, &retry, cli, ids[i]); err != nil {
					cancel(errtext.Errorf("lease %x: %w", ids[i], err))
					return
				}
			}
		})
	}
	asking.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return answers, nil
}

// leaseTTL asks how long a lease lives. One that is gone has -1 left.
func leaseTTL(ctx context.Context, retry *retrier, cli *clientv3.Client, id clientv3.LeaseID) (ttl, error) {
	var answer ttl
	err := retry.do(ctx, exportTimeout, func(ctx context.Context) error {
		resp, err := cli.TimeToLive(ctx, id)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound), err == nil && resp.TTL < 0:
			answer = ttl{0, -1}
			return nil
		case err != nil:
			return err
		}
		answer = ttl{resp.GrantedTTL, resp.TTL}
		return nil
	})
	return answer, err
}

// Write writes the header and the records to w, one JSON object a line. each, if not nil, is called after each record
// with the number of records so far.
func (e *Export) Write(ctx context.Context, w io.Writer, each func(n int64)) error {
	b := bufio.NewWriterSize(w, 64<<10)
	failed := func(err error) error {
		if err == nil {
			return nil
		}
		return errtext.Errorf("keys: write the export of %q: %w", e.Prefix, err)
	}
	if err := writeLine(b, e.Header); err != nil {
		return failed(err)
	}
	n := int64(0)
	for record, err := range e.Records(ctx) {
		if err != nil {
			return errors.Join(err, failed(b.Flush()))
		}
		if err := writeLine(b, record); err != nil {
			return failed(err)
		}
		if n++; each != nil {
			each(n)
		}
	}
	return failed(b.Flush())
}

func writeLine(w *bufio.Writer, v interface{ MarshalJSON() ([]byte, error) }) error {
	text, err := v.MarshalJSON()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// pageFirst is how many keys the first page may have: were they of the largest size that
	// etcd takes by default, 1.5 MiB, it would be 150 MiB.
	pageFirst = 100
	// pageMost bounds a page's keys, pageBytes what it should be long. Large pages pay: for each
	// one etcd walks the index of all the keys that are left, to count them.
	pageMost  = 20_000
	pageBytes = 4 << 20

	pageTimeout = 15 * time.Second
	pageStagger = 3 * time.Second
)

// reading is a complete copy of the prefix.
type reading struct {
	tree     *tree
	revision int64
	cluster  uint64
	newest   *KeyValue // the entry that changed last; nil: no entries
	asked    time.Time // when the read was sent that is linearizable at revision
}

// read reads the prefix, in pages of one revision.
func (m *Mirror) read(ctx context.Context) (*reading, error) {
	target := pageBytes
	for {
		r, err := m.readPages(ctx, target)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return r, err
		}
		// The revision was compacted between two pages. With pages that grow there is an end
		// to this however often somebody compacts: one page is never torn.
		target = min(8*target, 1<<30)
	}
}

// readPages asks for each page while it puts the one before it into the tree.
func (m *Mirror) readPages(ctx context.Context, target int) (*reading, error) {
	type fetched struct {
		page *clientv3.GetResponse
		err  error
	}
	grow := target / pageBytes
	p := &pager{m: m, from: m.first, target: target, limit: pageFirst * grow, most: pageMost * grow}
	r := &reading{tree: new(tree), asked: time.Now()}
	page, err := p.next(ctx)
	for {
		if err != nil {
			return nil, err
		}
		next := make(chan fetched, 1)
		if page.More {
			go func() { // waited for below
				page, err := p.next(ctx)
				next <- fetched{page, err}
			}()
		}
		for _, kv := range page.Kvs {
			entry := newKeyValue(kv)
			r.tree.Load(entry.Key, entry)
			if r.newest == nil || entry.ModRevision > r.newest.ModRevision {
				r.newest = entry
			}
		}
		if !page.More {
			r.revision, r.cluster = p.revision, p.cluster
			return r, nil
		}
		f := <-next
		page, err = f.page, f.err
	}
}

// pager fetches one page after the other, all of the revision of the first one.
type pager struct {
	m        *Mirror
	from     string
	revision int64
	cluster  uint64

	target      int // bytes that a page should have
	limit, most int // keys
}

func (p *pager) next(ctx context.Context) (*clientv3.GetResponse, error) {
	page, err := p.m.get(ctx, pageTimeout, pageStagger, p.from,
		clientv3.WithRange(p.m.end), clientv3.WithLimit(int64(p.limit)), clientv3.WithRev(p.revision))
	if tooLarge(err) && p.limit > 1 {
		p.most = max(1, p.limit/4) // the client takes small messages only
		p.limit = p.most
		return p.next(ctx)
	}
	if err != nil {
		return nil, err
	}
	if p.revision == 0 {
		p.revision, p.cluster = page.Header.Revision, page.Header.ClusterId
	}
	if got := page.Header.ClusterId; got != p.cluster {
		return nil, fmt.Errorf("the endpoints belong to different clusters, %x and %x", p.cluster, got)
	}
	if page.More {
		size := 1
		for _, kv := range page.Kvs {
			size += len(kv.Key) + len(kv.Value)
		}
		p.from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		fits := int(int64(len(page.Kvs)) * int64(p.target) / int64(size))
		p.limit = max(1, min(fits, 20*p.limit, p.most))
	}
	return page, nil
}

// get is a linearizable read that one silent member cannot hold up.
func (m *Mirror) get(ctx context.Context, timeout, stagger time.Duration, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return race(ctx, 3, stagger, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return m.cli.Get(ctx, key, opts...)
	}, func(*clientv3.GetResponse) {})
}

// tooLarge tells whether the client's own limit stood in the way, not etcd.
func tooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// denied tells whether asking again in the same way cannot help.
func denied(err error) bool {
	for _, target := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty,
		rpctypes.ErrUserNotFound, rpctypes.ErrInvalidAuthMgmt,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.Is(err, ErrDenied)
}

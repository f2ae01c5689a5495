package mirror

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	// pageFirst is how many keys the first page may have: were they of the largest size that
	// etcd takes by default, 1.5 MiB, it would be 150 MiB.
	pageFirst = 100
	// pageMost bounds a page's keys, pageBytes what it should be long, pageTime what it should
	// take. Large pages pay: for each one etcd walks the index of all the keys that are left, to
	// count them.
	pageMost  = 20_000
	pageBytes = 4 << 20
	pageTime  = time.Second

	pageTimeout = 15 * time.Second
	pageStagger = 5 * time.Second

	// mostTries is how many members a request asks, one after the other while they are silent.
	mostTries = 3
)

// reading is a complete copy of the prefix.
type reading struct {
	tree     *tree
	revision int64
	cluster  uint64
	newest   *KeyValue // the entry that changed last; nil: no entries
	bytes    int       // of keys and values
	asked    time.Time // when the read was sent that is linearizable at revision
	loadTime time.Duration
}

// read reads the prefix, in pages of one revision.
func (r *replica) read(ctx context.Context) (*reading, error) {
	most := pageBytes
	for {
		loaded, err := r.readPages(ctx, most)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return loaded, err
		}
		// The revision was compacted between two pages. With pages that grow there is an end to
		// this, unless etcd is compacted more often than a network lets such a page through: one
		// page is never torn.
		most = min(8*most, 1<<30)
	}
}

// readPages asks for each page while it puts the one before it into the tree.
func (r *replica) readPages(ctx context.Context, most int) (*reading, error) {
	type fetched struct {
		page *pb.RangeResponse
		err  error
	}
	p := &pager{replica: r, from: r.first, limit: pageFirst * most / pageBytes, most: most}
	loaded := &reading{tree: new(tree), asked: time.Now()}
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
			loaded.tree.Load(entry.Key, entry)
			loaded.bytes += entry.size()
			if loaded.newest == nil || entry.ModRevision > loaded.newest.ModRevision {
				loaded.newest = entry
			}
		}
		if !page.More {
			loaded.revision, loaded.cluster, loaded.loadTime = p.revision, p.cluster, time.Since(loaded.asked)
			return loaded, nil
		}
		f := <-next
		page, err = f.page, f.err
	}
}

// pager fetches one page after the other, all of the revision of the first one.
type pager struct {
	replica  *replica
	from     string
	revision int64
	cluster  uint64

	limit int // keys that the next page may have
	most  int // bytes that a page should have at the most
}

func (p *pager) next(ctx context.Context) (*pb.RangeResponse, error) {
	for {
		began := time.Now()
		page, err := p.replica.get(ctx, pageTimeout, pageStagger, &pb.RangeRequest{
			Key: []byte(p.from), RangeEnd: []byte(p.replica.end), Limit: int64(p.limit), Revision: p.revision})
		if timedOut(ctx, err) && p.limit > 1 { // a slow network: ask for less
			p.limit = max(1, p.limit/4)
			continue
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
			p.from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
			p.fit(page, time.Since(began))
		}
		return page, nil
	}
}

// fit sets the size of the next page by what this one was and took.
func (p *pager) fit(page *pb.RangeResponse, took time.Duration) {
	size := 1
	for _, kv := range page.Kvs {
		size += len(kv.Key) + len(kv.Value)
	}
	grown := p.most / pageBytes
	inTime := float64(size) * float64(min(time.Duration(grown)*pageTime, pageTimeout/2)) / float64(max(took, 1))
	fits := int(float64(len(page.Kvs)) * min(inTime, float64(p.most)) / float64(size))
	p.limit = max(1, min(fits, 20*p.limit, pageMost*grown))
}

// get is a linearizable read that one silent member cannot hold up. It goes past clientv3's KV,
// which tries on until the context is done and then does not say why.
func (r *replica) get(ctx context.Context, timeout, stagger time.Duration, req *pb.RangeRequest) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv := pb.NewKVClient(r.cli.ActiveConnection())
	hedge := ask.Hedge[*pb.RangeResponse]{
		Most:    mostTries,
		Silence: func(int) time.Duration { return stagger },
		Try: func(ctx context.Context, _ int) (*pb.RangeResponse, error) {
			resp, err := kv.Range(ctx, req, grpc.MaxCallRecvMsgSize(math.MaxInt32))
			return resp, rpctypes.Error(err)
		},
	}
	resp, _, err := hedge.Run(ctx)
	return resp, err
}

// timedOut tells whether a request ran out of its own time, not of the caller's.
func timedOut(ctx context.Context, err error) bool { return ctx.Err() == nil && ask.TimeIsUp(err) }

// denied tells whether asking again in the same way cannot help.
func denied(err error) bool { return ask.Unauthorised(err) || errors.Is(err, ErrDenied) }

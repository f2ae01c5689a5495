package ask

import (
	"cmp"
	"iter"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Defaults of Pages.
const (
	FirstPage = 100     // keys: 150 MiB of the largest that etcd takes
	PageBytes = 1 << 20 // that a page aims at
)

const mostOfPage = 20_000 // keys, where a page aims at PageBytes

// Pages reads a range of keys in pages, in order and all of them at one revision. Each page has about as many keys as
// the one before says that Bytes are.
type Pages struct {
	From, End string // as etcd has them. From is the first key that was not read yet
	Revision  *int64 // of all pages. The first answer sets it where it is 0
	Limit     int    // keys of the next page. Default: FirstPage for the first one
	Bytes     int    // that a page aims at. Default: PageBytes
}

// Options of the request for the next page, whose key is From.
func (p *Pages) Options() []clientv3.OpOption {
	p.Limit = cmp.Or(p.Limit, FirstPage)
	return []clientv3.OpOption{clientv3.WithRange(p.End), clientv3.WithLimit(int64(p.Limit)), clientv3.WithRev(*p.Revision)}
}

// Passed moves on behind keys that were read.
func (p *Pages) Passed(kvs []*mvccpb.KeyValue) {
	n := len(kvs)
	if n == 0 {
		return
	}
	p.From = string(kvs[n-1].Key) + "\x00"
	size := 1
	for _, kv := range kvs {
		size += len(kv.Key) + len(kv.Value)
	}
	bytes := cmp.Or(p.Bytes, PageBytes)
	p.Limit = max(1, min(n*bytes/size, 4*cmp.Or(p.Limit, FirstPage), mostOfPage*max(1, bytes/PageBytes)))
}

// Read yields the keys page by page, with at most one error, which is the last. get makes the requests.
func (p *Pages) Read(get func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)) iter.Seq2[[]*mvccpb.KeyValue, error] {
	return func(yield func([]*mvccpb.KeyValue, error) bool) {
		for more := true; more; {
			resp, err := get(p.From, p.Options()...)
			if err != nil {
				yield(nil, err)
				return
			}
			if *p.Revision == 0 {
				*p.Revision = resp.Header.Revision
			}
			p.Passed(resp.Kvs)
			more = resp.More && len(resp.Kvs) > 0
			if !yield(resp.Kvs, nil) {
				return
			}
		}
	}
}

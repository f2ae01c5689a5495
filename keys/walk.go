package keys

import (
	"context"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// skipAfter is how many keys of a closed folder are read before the rest is skipped. To skip costs a request:
// so many keys cost less.
const skipAfter = 100

// step is a key or the beginning of a folder, as a walk comes to it.
type step struct {
	path  string           // the key; of a folder the prefix of its keys, which ends with the separator
	depth int              // 1 is directly below the prefix
	kv    *mvccpb.KeyValue // of the key, without its value and lease; nil: a folder
}

// walk yields what is below a prefix down to a depth (0: all), in the order of etcd's keys.
func (r *reader) walk(ctx context.Context, prefix, separator string, depth int) iter.Seq2[step, error] {
	return func(yield func(step, error) bool) {
		w := &walker{prefix: prefix, separator: separator, most: depth}
		from, end := Prefix(prefix).Bounds()
		for {
			skipped := false
			for page, err := range r.pages(ctx, Range{from, end}) {
				if err != nil {
					yield(step{}, err)
					return
				}
				for _, kv := range page {
					if !w.key(kv, yield) {
						return
					}
				}
				if skipped = w.hidden >= skipAfter; skipped {
					break
				}
			}
			if !skipped {
				return
			}
			if from = Prefix(w.closed).End; from == NoEnd || from == end {
				return
			}
		}
	}
}

// walker turns keys in order into steps.
type walker struct {
	prefix, separator string
	most              int

	open   []string // the folders that the latest key is in, from the outermost inwards
	closed string   // the folder whose keys are too deep; "": none
	hidden int      // keys of it
}

func (w *walker) key(kv *mvccpb.KeyValue, yield func(step, error) bool) bool {
	key := string(kv.Key)
	if w.closed != "" && strings.HasPrefix(key, w.closed) {
		w.hidden++
		return true
	}
	w.closed, w.hidden = "", 0
	for len(w.open) > 0 && !strings.HasPrefix(key, w.open[len(w.open)-1]) {
		w.open = w.open[:len(w.open)-1]
	}
	at := len(w.prefix)
	if len(w.open) > 0 {
		at = len(w.open[len(w.open)-1])
	}
	for {
		cut := strings.Index(key[at:], w.separator)
		if cut < 0 {
			return yield(step{key, len(w.open) + 1, kv}, nil)
		}
		at += cut + len(w.separator)
		folder := key[:at]
		if !yield(step{folder, len(w.open) + 1, nil}, nil) {
			return false
		}
		if len(w.open)+1 == w.most {
			w.closed, w.hidden = folder, 1
			return true
		}
		w.open = append(w.open, folder)
	}
}

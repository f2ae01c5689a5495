package queue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Whatever a key says, it takes something, and no more of a size than there is, or it takes all.
func FuzzWhatAKeyTakesIsNeverTooLittle(f *testing.F) {
	for _, rest := range []string{"1a-0.3of10", "0.-1000of3", "1-0.0of3", "1-0.4of3", "1-0.+1of3", "1-0.1of", "1-0.of1", "r1-0", "r", "", "a/b", "1-0.1of10001"} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		weight, size := queue.Takes(rest)
		if weight == queue.All && size == 0 {
			return
		}
		if weight < 1 || weight > size || size > 10_000 {
			t.Fatalf("%q takes %d of %d", rest, weight, size)
		}
		if want := fmt.Sprintf(".%dof%d", weight, size); !strings.HasSuffix(rest, want) || strings.Count(rest, ".") != 1 || strings.Contains(rest, "/") {
			t.Fatalf("%q takes %d of %d, want that only of what ends in %q", rest, weight, size, want)
		}
		if queue.Shared(rest) {
			t.Fatalf("%q is a reader's, too", rest)
		}
	})
}

// A list shows an entry as the others in its queue take it.
func TestAListShowsOfAKeyWhatItTakes(t *testing.T) {
	for _, rest := range []string{"1a-0.3of10", "1a-0.007of0999", "1a-00.1of2", "1a-0.1of10001", "1a-0.4of3", "1a-0.1of10000", "r1a-0.1of3", "1a-0.1of3of3"} {
		weight, size := queue.Takes(rest)
		f := queue.Parse(&queue.KeyValue{Key: []byte("lock/" + rest), Lease: 0x1a})
		if counted := f.Kind.Size > 0; counted != (size > 0) || counted && f.Kind.Weight != weight {
			t.Errorf("%q takes %d of %d, and the list says %d of %d", rest, weight, size, f.Kind.Weight, f.Kind.Size)
		}
	}
}

func TestWhatAKeySaysIsWhatItWasMadeOf(t *testing.T) {
	for _, lease := range []int64{1, 0x7fffffffffffffff, 0xabc} {
		for _, slot := range []int{0, 7, 4999} {
			for _, kind := range []queue.Kind{{Weight: 1, Size: 1}, {Weight: 3, Size: 10}, {Weight: 10_000, Size: 10_000}} {
				rest := kind.Key("", lease, slot)
				if weight, size := queue.Takes(rest); weight != kind.Weight || size != kind.Size {
					t.Errorf("%s takes %d of %d, want %d of %d", rest, weight, size, kind.Weight, kind.Size)
				}
			}
			if rest := (queue.Kind{Shared: true}).Key("", lease, slot); !queue.Shared(rest) {
				t.Errorf("%s is not a reader's", rest)
			}
			if rest := (queue.Kind{}).Key("", lease, slot); queue.Shared(rest) {
				t.Errorf("%s is a reader's", rest)
			}
		}
	}
}

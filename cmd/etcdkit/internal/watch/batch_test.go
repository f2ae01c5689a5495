package watch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/watch"
	"github.com/etcdkit/etcdkit/mirror"
)

// step makes a change; "-" is no value.
func step(key, was, is string, revision int64) mirror.Change {
	c := mirror.Change{Key: key, Revision: revision}
	if was != "-" {
		c.Old = &mirror.KeyValue{Key: key, Value: was}
	}
	if is != "-" {
		c.New = &mirror.KeyValue{Key: key, Value: is, ModRevision: revision, CreateRevision: 2, Version: revision - 1, Lease: 0x7b}
	}
	return c
}

func TestWhatGathersHasEachKeyOnceFromTheFirstStateToTheLast(t *testing.T) {
	var p watch.Pending
	for i, c := range []mirror.Change{
		step("a", "1", "2", 11), step("b", "-", "1", 12), step("gone", "-", "1", 13), step("a", "2", "3", 14), step("gone", "1", "-", 15), step("was", "1", "-", 16),
	} {
		p.Add(watch.Batch{Revision: int64(11 + i), Reason: watch.Changed, Changes: []mirror.Change{c}})
	}
	b := p.Take()
	if got, want := text(b, ""), "b:->1 a:1>3 was:1>-"; got != want || b.Revision != 16 || b.Reason != watch.Changed {
		t.Errorf("got %q at %d (%s), want %q at 16", got, b.Revision, b.Reason, want)
	}
	if b := p.Take(); len(b.Changes) != 0 {
		t.Errorf("taken twice: %q", text(b, ""))
	}
}

func TestTheReasonThatSaysMostStays(t *testing.T) {
	var p watch.Pending
	for _, reason := range []watch.Reason{watch.Changed, watch.Reread, watch.Changed} {
		p.Add(watch.Batch{Revision: 1, Reason: reason, Changes: []mirror.Change{step("a", "1", "2", 1)}})
	}
	if b := p.Take(); b.Reason != watch.Reread {
		t.Errorf("got %q, want %q", b.Reason, watch.Reread)
	}
}

func TestABatchIsJSONThatSaysWhatIsNotThere(t *testing.T) {
	b := watch.Batch{Revision: 9, Reason: watch.Changed, Changes: []mirror.Change{step("a", "-", "\xff", 8), step("b<", "1", "-", 9)}}
	got, err := json.Marshal(watch.NewDocument(b))
	want := `{"revision":9,"reason":"changed","changes":[` +
		`{"type":"put","key":"a","value":{"base64":"/w=="},"prev_value":null,"revision":8,"create_revision":2,"version":7,"lease":"7b","synthesised":false},` +
		`{"type":"delete","key":"b\u003c","value":null,"prev_value":"1","revision":9,"create_revision":0,"version":0,"lease":"0","synthesised":false}]}`
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
	empty, err := json.Marshal(watch.NewDocument(watch.Batch{Reason: watch.Initial}))
	if err != nil || !strings.Contains(string(empty), `"changes":[]`) {
		t.Errorf("nothing: got %s, %v, want an empty list", empty, err)
	}
}

func TestTheEnvironmentHasTheLastChangeUnquoted(t *testing.T) {
	old := []string{"PATH=/bin", "ETCD_WATCH_VALUE=of an outer watch", "ETCD_WATCH_KEY=k"}
	for _, tc := range []struct {
		name    string
		b       *watch.Batch
		want    []string
		leftOut string
	}{
		{"put", &watch.Batch{Revision: 9, Reason: watch.Changed, Changes: []mirror.Change{step("a", "-", "1", 8), step("b", "-", "two \"words\"\n", 9)}},
			[]string{"PATH=/bin", "ETCD_WATCH_REVISION=9", "ETCDKIT_WATCH_CHANGES=2", "ETCDKIT_WATCH_REASON=changed", "ETCD_WATCH_KEY=b", "ETCD_WATCH_EVENT_TYPE=PUT", "ETCD_WATCH_VALUE=two \"words\"\n"}, ""},
		{"delete", &watch.Batch{Revision: 9, Reason: watch.Changed, Changes: []mirror.Change{step("a", "1", "-", 9)}},
			[]string{"PATH=/bin", "ETCD_WATCH_REVISION=9", "ETCDKIT_WATCH_CHANGES=1", "ETCDKIT_WATCH_REASON=changed", "ETCD_WATCH_KEY=a", "ETCD_WATCH_EVENT_TYPE=DELETE", "ETCD_WATCH_VALUE="}, ""},
		{"NUL", &watch.Batch{Revision: 9, Reason: watch.Changed, Changes: []mirror.Change{step("a", "1", "x\x00", 9)}},
			[]string{"PATH=/bin", "ETCD_WATCH_REVISION=9", "ETCDKIT_WATCH_CHANGES=1", "ETCDKIT_WATCH_REASON=changed", "ETCD_WATCH_KEY=a", "ETCD_WATCH_EVENT_TYPE=PUT"}, "NUL"},
		{"long", &watch.Batch{Revision: 9, Reason: watch.Changed, Changes: []mirror.Change{step("a", "1", strings.Repeat("x", 64<<10+1), 9)}},
			[]string{"PATH=/bin", "ETCD_WATCH_REVISION=9", "ETCDKIT_WATCH_CHANGES=1", "ETCDKIT_WATCH_REASON=changed", "ETCD_WATCH_KEY=a", "ETCD_WATCH_EVENT_TYPE=PUT"}, "65537 bytes"},
		{"no change yet", nil, []string{"PATH=/bin"}, ""},
	} {
		got, leftOut := watch.Environ(old, tc.b)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		if said := fmt.Sprint(leftOut); (tc.leftOut == "") != (len(leftOut) == 0) || !strings.Contains(said, tc.leftOut) {
			t.Errorf("%s: left out %s, want %q", tc.name, said, tc.leftOut)
		}
	}
}

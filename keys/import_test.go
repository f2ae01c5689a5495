package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

func delAll(t testing.TB, cli *clientv3.Client, prefix string) {
	t.Helper()
	if _, err := cli.Delete(within(t, generous), prefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

func importText(t testing.TB, cli *clientv3.Client, text string, opts *keys.ImportOptions) keys.Counts {
	t.Helper()
	counts, err := keys.Import(within(t, generous), cli, strings.NewReader(text), opts)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return counts
}

func TestWhatIsExportedAndDeletedComesBackByAnImport(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	const n = 1000
	fillRandom(t, cli, prefix, n)
	want := held(t, cli, prefix)
	file := export(t, cli, prefix, nil)
	delAll(t, cli, prefix)
	for what, r := range map[string]io.Reader{"a file": strings.NewReader(file), "a stream": io.MultiReader(strings.NewReader(file))} {
		counts, err := keys.Import(within(t, generous), cli, r, nil)
		if want := (keys.Counts{Read: n, Total: n, Created: n, Leases: 2}); err != nil || counts != want {
			t.Errorf("%s: got %+v, %v, want %+v", what, counts, err, want)
		}
		wantHeld(t, what, held(t, cli, prefix), want)
		if again, err := keys.Import(within(t, generous), cli, strings.NewReader(file), nil); err != nil || again != (keys.Counts{Read: n, Total: n, Same: n}) {
			t.Errorf("%s again: got %+v, %v, want nothing to do", what, again, err)
		}
		delAll(t, cli, prefix)
	}
}

func TestAnImportIsInBatchesThatEtcdTakes(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var file strings.Builder
	for i := range 60 {
		fmt.Fprintf(&file, `{"key":"%s%d","value":"%s"}`+"\n", prefix, i, strings.Repeat("x", i%5*100_000))
	}
	fmt.Fprintf(&file, `{"key":"%slarge","value":"%s"}`+"\n\n", prefix, strings.Repeat("x", 1_400_000))
	var steps int
	counts := importText(t, cli, file.String(), &keys.ImportOptions{Progress: func(keys.Progress) { steps++ }})
	if counts.Created != 61 || steps < 13 {
		t.Errorf("got %+v in %d steps, want 61 created in 13 at least: 13 MB", counts, steps)
	}
	tooLarge := fmt.Sprintf(`{"key":"%stoo-large","value":"%s"}`, prefix, strings.Repeat("x", 3_000_000))
	if _, err := keys.Import(within(t, generous), cli, strings.NewReader(tooLarge), nil); err == nil || !strings.Contains(err.Error(), "larger than") || !strings.Contains(err.Error(), "too-large") {
		t.Errorf("got %v, want an error that names the key", err)
	}
}

func TestAnImportKeepsWhatIsDifferentUnlessToldOtherwise(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	lease := grant(t, cli, 600)
	put(t, cli, prefix+"same", "1")
	put(t, cli, prefix+"other", "theirs")
	put(t, cli, prefix+"leased", "1", clientv3.WithLease(lease))
	file := strings.ReplaceAll(`{"key":"P/new","value":"1"}
{"key":"P/same","value":"1"}
{"key":"P/other","value":"ours"}
{"key":"P/leased","value":"1"}
`, "P/", prefix)
	before := held(t, cli, prefix)
	var did []string
	each := func(key string, a keys.Action) {
		did = append(did, string(a)+" "+strings.TrimPrefix(key, prefix))
	}
	dry := importText(t, cli, file, &keys.ImportOptions{DryRun: true, Overwrite: true, Each: each})
	if want := (keys.Counts{Read: 4, Total: 4, Created: 1, Updated: 2, Same: 1}); dry != want {
		t.Errorf("dry: got %+v, want %+v", dry, want)
	}
	if want := []string{"create new", "same same", "update other", "update leased"}; !slices.Equal(did, want) {
		t.Errorf("dry: got %q, want %q", did, want)
	}
	wantHeld(t, "after a dry run", held(t, cli, prefix), before)
	kept := importText(t, cli, file, nil)
	if want := (keys.Counts{Read: 4, Total: 4, Created: 1, Kept: 2, Same: 1}); kept != want {
		t.Errorf("got %+v, want %+v", kept, want)
	}
	before["new"] = "1"
	wantHeld(t, "without Overwrite", held(t, cli, prefix), before)
	over := importText(t, cli, file, &keys.ImportOptions{Overwrite: true})
	if want := (keys.Counts{Read: 4, Total: 4, Updated: 2, Same: 2}); over != want {
		t.Errorf("Overwrite: got %+v, want %+v", over, want)
	}
	wantHeld(t, "with Overwrite", held(t, cli, prefix), map[string]string{"new": "1", "same": "1", "other": "ours", "leased": "1"})
}

func TestLeasesOfAnImportAreRemadeSkippedOrDropped(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	file := strings.ReplaceAll(`{"key":"P/a","value":"1","lease":"7b","lease_ttl_seconds":600}
{"key":"P/b","value":"1","lease":"7b","lease_ttl_seconds":600}
{"key":"P/c","value":"1"}
`, "P/", prefix)
	for policy, want := range map[keys.LeasePolicy]map[string]string{
		keys.RemakeLeases: {"a": "1 on 600", "b": "1 on 600", "c": "1"},
		keys.SkipLeased:   {"c": "1"},
		keys.DropLeases:   {"a": "1", "b": "1", "c": "1"},
	} {
		importText(t, cli, file, &keys.ImportOptions{Leases: policy})
		wantHeld(t, string(policy), held(t, cli, prefix), want)
		delAll(t, cli, prefix)
	}
	if _, err := keys.Import(within(t, generous), cli, strings.NewReader(""), &keys.ImportOptions{Leases: "x"}); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("an unknown policy: got %v, want ErrInvalid", err)
	}
}

func TestAnImportCanChangeThePrefix(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a/1", "1")
	put(t, cli, prefix+"a/2", "2")
	file := export(t, cli, prefix+"a/", nil)
	importText(t, cli, file, &keys.ImportOptions{FromPrefix: prefix + "a/", ToPrefix: prefix + "b/"})
	wantHeld(t, "the new prefix", held(t, cli, prefix+"b/"), map[string]string{"1": "1", "2": "2"})
	if _, err := keys.Import(within(t, generous), cli, strings.NewReader(file), &keys.ImportOptions{FromPrefix: "no/"}); !errors.Is(err, keys.ErrInvalid) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("another prefix than the file's: got %v, want ErrInvalid with its line", err)
	}
}

func TestBadInputIsRefusedWithItsLineBeforeAnythingIsWritten(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	first := fmt.Sprintf(`{"key":"%sa","value":"1"}`, prefix)
	putAll(t, cli, prefix+"x/1", prefix+"x/2", prefix+"x/3")
	whole := export(t, cli, prefix+"x/", nil)
	lines := strings.SplitAfter(whole, "\n")
	delAll(t, cli, prefix)
	for text, want := range map[string]string{
		first + "\n{\"key\":\"b\"}":                                 `line 2: no "value"`,
		first + "\n\n{\"value\":\"b\"}":                             `line 3: no "key"`,
		first + "\n{\"key\":\"\",\"value\":\"b\"}":                  `line 2: the "key" is empty`,
		first + "\n{\"key\":\"b\",\"value\":7}":                     `line 2: 7: want a string`,
		first + "\n{\"key\":\"b\",\"value\":\"1\"":                  `line 2: "{\"key\":\"b\",\"value\":\"1\"" is no JSON object`,
		first + "\nPUT b":                                           `line 2: "PUT b" is no JSON object`,
		first + "\n" + first:                                        `was in line 1 already`,
		first + "\n{\"key\":\"b\",\"value\":\"1\",\"lease\":\"7\"}": `line 2: a "lease" without "lease_ttl_seconds"`,
		first + "\n{\"key\":\"b\",\"value\":\"1\",\"lease\":\"x\"}": `line 2: "lease" "x": want hexadecimal digits`,
		"[" + first + "]":                                           `line 1: a JSON array`,
		strings.Join(lines[:3], ""):                                 `ends after 2 of 3 records`,
		lines[0]:                                                    `ends after 0 of 3 records`,
		whole[:len(whole)-3]:                                        `line 4: "{\"key\":`,
		lines[0] + lines[2] + lines[1] + lines[3]:                   `line 3: key`,
		whole + lines[3]:                                            `line 5: key`,
		strings.Replace(whole, `export":1`, `export":2`, 1):         `an export of version 2`,
		lines[0] + first + "\n" + lines[1]:                          `is not below the header's prefix`,
		strings.Replace(whole, `"count":3`, `"count":2`, 1):         `more than the 2 records of the header`,
	} {
		counts, err := keys.Import(within(t, generous), cli, strings.NewReader(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, keys.ErrInvalid) && !errors.Is(err, keys.ErrIncomplete) {
			t.Errorf("%s\ngot %v, want %s", text, err, want)
		}
		if counts.Read != 0 || len(held(t, cli, prefix)) != 0 {
			t.Errorf("%s\nwas imported in part: %+v", text, counts)
		}
	}
	if counts := importText(t, cli, strings.Join(lines[:3], ""), &keys.ImportOptions{Partial: true}); counts.Created != 2 {
		t.Errorf("a part that is wanted: got %+v, want 2 created", counts)
	}
}

// stuck is a file that can be read once only.
type stuck struct{ *strings.Reader }

func (stuck) Seek(_ int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	return 0, nil
}

func TestAFileThatCannotBeReadAgainIsNotImported(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	file := stuck{strings.NewReader(fmt.Sprintf(`{"key":"%sa","value":"1"}`, prefix))}
	if _, err := keys.Import(within(t, generous), cli, file, nil); !errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), "keys: import: nothing was written: ") {
		t.Errorf("got %v, want that nothing was written", err)
	}
}

func TestTimesOfARecordAreSecondsInJSON(t *testing.T) {
	for text, want := range map[string]keys.Record{
		`{"key":"a","value":"1","lease":"7b","lease_ttl_seconds":60,"lease_remaining_seconds":51,"create_revision":0,"mod_revision":0,"version":0}`: {
			Key: keys.Bytes("a"), Value: keys.Bytes("1"), Lease: 0x7b, LeaseTTL: time.Minute, LeaseRemaining: 51 * time.Second,
		},
		`{"key":"a","value":"1","lease":"7b","lease_ttl_seconds":0,"lease_remaining_seconds":-1,"create_revision":0,"mod_revision":0,"version":0}`: {
			Key: keys.Bytes("a"), Value: keys.Bytes("1"), Lease: 0x7b,
		},
	} {
		var got keys.Record
		if err := got.UnmarshalJSON([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot %+v, %v, want %+v", text, got, err, want)
		}
		if back, err := got.MarshalJSON(); err != nil || string(back) != text {
			t.Errorf("got %s, %v, want %s", back, err, text)
		}
		if got.LeaseEnded() != (want.LeaseTTL == 0) {
			t.Errorf("%s: LeaseEnded is %v", text, got.LeaseEnded())
		}
	}
	var r keys.Record
	if err := r.UnmarshalJSON([]byte(`{"key":"a","value":"1","lease":"7b","lease_ttl_seconds":9000000001}`)); err == nil {
		t.Error("a TTL that etcd does not take: got no error")
	}
}

func TestAStreamIsWrittenUpToItsBadLine(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	text := fmt.Sprintf(`{"key":"%sa","value":"1"}`+"\nbad\n", prefix)
	counts, err := keys.Import(within(t, generous), cli, io.MultiReader(strings.NewReader(text)), nil)
	if !errors.Is(err, keys.ErrInvalid) || !strings.Contains(err.Error(), "line 2") || counts.Created != 1 {
		t.Errorf("got %+v, %v, want 1 created and ErrInvalid in line 2", counts, err)
	}
}

func TestAnInterruptedImportGoesOnWhereItWas(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	fillRandom(t, cli, prefix, 600)
	want := held(t, cli, prefix)
	file := export(t, cli, prefix, nil)
	delAll(t, cli, prefix)
	ctx, cancel := context.WithCancel(within(t, generous))
	first, err := keys.Import(ctx, cli, strings.NewReader(file), &keys.ImportOptions{Progress: func(p keys.Progress) {
		if p.Created > 200 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || first.Created <= 200 || first.Created == 600 {
		t.Fatalf("got %+v, %v, want an end after some 200 keys", first, err)
	}
	second := importText(t, cli, file, nil)
	if second.Same != first.Created || second.Created != 600-first.Created {
		t.Errorf("got %+v after %+v, want the rest", second, first)
	}
	wantHeld(t, "after the second", held(t, cli, prefix), want)
}

// The answer of a write is lost: the write is made again, and does no harm.
func TestALostAnswerIsSettled(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, cli.Endpoints()[0])
	gated, err := client.Dial(within(t, generous), &client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer gated.Close()
	fillRandom(t, cli, prefix, 300)
	want := held(t, cli, prefix)
	file := export(t, cli, prefix, nil)
	delAll(t, cli, prefix)
	frozen, waited := false, 0
	counts, err := keys.Import(within(t, generous), gated, bytes.NewReader([]byte(file)), &keys.ImportOptions{Progress: func(p keys.Progress) {
		if !frozen {
			frozen = true
			gate.Freeze()
		}
		if p.Waiting != nil {
			waited++
			gate.Unfreeze()
		}
	}})
	if err != nil || counts.Created != 300 || waited == 0 {
		t.Errorf("got %+v, %v, and waited %d times", counts, err, waited)
	}
	if got := held(t, cli, prefix); !maps.Equal(got, want) {
		t.Errorf("got %d keys, want %d as they were", len(got), len(want))
	}
}

package keys_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

func TestACopyIsWhatTheSourceIs(t *testing.T) {
	src, prefix := etcdtest.New(t)
	dst := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	fillRandom(t, src, prefix, 400)
	want := held(t, src, prefix)
	first, err := keys.Copy(within(t, generous), src, prefix, dst, "copy/", nil)
	if want := (keys.Counts{Read: 400, Total: 400, Created: 400, Leases: 2}); err != nil || first != want {
		t.Errorf("got %+v, %v, want %+v", first, err, want)
	}
	wantHeld(t, "the copy", held(t, dst, "copy/"), want)
	second, err := keys.Copy(within(t, generous), src, prefix, dst, "copy/", nil)
	if want := (keys.Counts{Read: 400, Total: 400, Same: 400}); err != nil || second != want {
		t.Errorf("again: got %+v, %v, want %+v", second, err, want)
	}
	// The whole of one cluster, under its own names.
	put(t, dst, "other", "1")
	if _, err := keys.Copy(within(t, generous), dst, "", src, prefix+"all/", nil); err != nil {
		t.Error(err)
	}
	if got := held(t, src, prefix+"all/"); len(got) != 401 || got["other"] != "1" {
		t.Errorf("a copy of everything: got %d keys, want 401", len(got))
	}
}

func TestACopyWritesOverAndDeletesOnlyIfToldSo(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a/1", "new")
	put(t, cli, prefix+"a/2", "same")
	put(t, cli, prefix+"b/1", "old")
	put(t, cli, prefix+"b/2", "same")
	put(t, cli, prefix+"b/3", "only here")
	run := func(opts *keys.CopyOptions) keys.Counts {
		t.Helper()
		counts, err := keys.Copy(within(t, generous), cli, prefix+"a/", cli, prefix+"b/", opts)
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	before := held(t, cli, prefix)
	var did []string
	each := func(key string, a keys.Action) {
		did = append(did, string(a)+" "+strings.TrimPrefix(key, prefix))
	}
	if got, want := run(&keys.CopyOptions{Delete: true, DryRun: true, Each: each}), (keys.Counts{Read: 3, Total: 3, Updated: 1, Deleted: 1, Same: 1}); got != want {
		t.Errorf("dry: got %+v, want %+v", got, want)
	}
	if want := []string{"update b/1", "same b/2", "delete b/3"}; !slices.Equal(did, want) {
		t.Errorf("dry: got %q, want %q", did, want)
	}
	wantHeld(t, "after a dry run", held(t, cli, prefix), before)
	if got, want := run(nil), (keys.Counts{Read: 2, Total: 2, Updated: 1, Same: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	wantHeld(t, "without Delete", held(t, cli, prefix+"b/"), map[string]string{"1": "new", "2": "same", "3": "only here"})
	run(&keys.CopyOptions{Delete: true})
	wantHeld(t, "with Delete", held(t, cli, prefix+"b/"), map[string]string{"1": "new", "2": "same"})
}

func TestACopyIntoItselfIsRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a/1", "1")
	for _, to := range []string{prefix + "a/", prefix + "a/b/", prefix, ""} {
		for name, copy := range map[string]func() (keys.Counts, error){
			"Copy":   func() (keys.Counts, error) { return keys.Copy(within(t, generous), cli, prefix+"a/", cli, to, nil) },
			"Follow": func() (keys.Counts, error) { return keys.Follow(within(t, generous), cli, prefix+"a/", cli, to, nil) },
		} {
			if _, err := copy(); !errors.Is(err, keys.ErrInvalid) || !strings.Contains(err.Error(), "overlap") {
				t.Errorf("%s to %q: got %v, want ErrInvalid", name, to, err)
			}
		}
	}
	wantHeld(t, "afterwards", held(t, cli, prefix), map[string]string{"a/1": "1"})
}

// Clusters that were set up with the same names, addresses and token have the same ID.
func TestClustersOfOneIDAreTwo(t *testing.T) {
	src := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	dst := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	put(t, src, "a/1", "1")
	counts, err := keys.Copy(within(t, generous), src, "a/", dst, "a/", nil)
	if err != nil || counts.Created != 1 {
		t.Errorf("got %+v, %v, want 1 created", counts, err)
	}
}

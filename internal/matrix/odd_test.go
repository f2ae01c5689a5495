package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// odd are names that something on the way could take for something else.
var odd = []string{
	"a b", "a%2Fb", "a%b", "a#b?c=d", `a"b'c`, "a\\b", "a;b|c&d", "$HOME", "`id`", "[::1]:80", "日本/ä", "é", "a\u202eb", "..", ".", "-", "*",
	"a\nb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "\xff\xfe", "a//b", "/a", "a/", "", strings.Repeat("x", 300), strings.Repeat("y", 5000),
}

func TestOddNamesWorkOrAreRefused(t *testing.T) {
	a := shared(t, 10*time.Second)
	var wg sync.WaitGroup
	all := rows()
	cells := make([]*cell, len(all))
	for i, r := range all {
		p, _ := oddNames.promised(r.name)
		cells[i] = &cell{ctx: t.Context()}
		if p.not != "" {
			continue
		}
		cli, _ := connect(t, a.endpoints, "")
		wg.Go(func() {
			cells[i].run(func() {
				for n, name := range odd {
					tryOdd(cells[i], r, p, &place{cli: cli, other: a.other, name: fmt.Sprint(a.prefix, ".", i, ".", n, "/", name), ttl: a.ttl}, name)
				}
			})
		})
	}
	wg.Wait()
	for i, r := range all {
		p, _ := oddNames.promised(r.name)
		t.Run(r.name, func(t *testing.T) {
			if p.not != "" {
				t.Skip("does not apply: " + p.not)
			}
			cells[i].tell(t)
		})
	}
}

// Options.Dir, IDs and addresses, which are no names of handles.
func TestOddDirectoriesAndInstancesWorkOrAreRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, name := range odd {
		if name != "" && !strings.ContainsAny(name, "/\x00") && len(name) < 200 {
			dir := filepath.Join(t.TempDir(), name)
			h, err := openView(bounded(t), &place{cli: cli, other: cli, name: prefix + "saved", dir: dir})
			if err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
				continue
			}
			if err := until(bounded(t), func() error {
				files, err := os.ReadDir(dir)
				if err == nil && len(files) == 0 && name != "." && name != ".." {
					err = errors.New("nothing is saved there")
				}
				return err
			}); err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
			}
			if err := errors.Join(h.works(bounded(t)), h.close()); err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
			}
		}
		for what, i := range map[string]registry.Instance{
			"ID":      {Service: "odd", ID: name, Addr: "127.0.0.1:80"},
			"Addr":    {Service: "odd", ID: "addr", Addr: name + ":80"},
			"Version": {Service: "odd", ID: "version", Addr: "127.0.0.1:80", Version: name},
		} {
			if what == "ID" && name == "" || what == "Addr" && (name == "" || name == "*") {
				continue // these ask for what fits
			}
			reg, err := registry.Register(bounded(t), cli, i, &registry.Options{Prefix: prefix})
			if err != nil {
				if !errors.Is(err, registry.ErrInvalid) {
					t.Errorf("%s %.40q: %v, want it registered, or ErrInvalid", what, name, err)
				}
				continue
			}
			list, err := discovery.List(bounded(t), cli, "odd", &discovery.Options{Prefix: prefix})
			if err != nil || len(list) != 1 || list[0].ID != i.ID || list[0].Addr != i.Addr || list[0].Version != i.Version {
				t.Errorf("%s %.40q: registered, and listed as %v, %v", what, name, list, err)
			}
			if err := reg.Close(); err != nil {
				t.Errorf("%s %.40q: %v", what, name, err)
			}
		}
	}
}

func tryOdd(t tester, r row, p promise, at *place, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	defer func() { // whether it was opened or refused
		within := *at
		within.name = strings.TrimSuffix(at.name, "/"+name)
		if err := until(ctx, func() error { return bare(ctx, &within, "/") }); err != nil {
			t.Errorf("%.40q: %v", name, err)
		}
	}()
	h, err := r.open(ctx, at)
	if err != nil {
		if p.err != nil && !p.err.is(err) || ctx.Err() != nil {
			t.Errorf("%.40q: %v, want it to work, or to be refused", name, err)
		} else {
			t.Logf("%.40q is refused: %v", name, err)
		}
		return
	}
	if err := h.works(ctx); err != nil {
		t.Errorf("%.40q: opened, and does not work: %v", name, err)
	}
	if err := h.close(); err != nil {
		t.Errorf("%.40q: Close: %v", name, err)
	}
}

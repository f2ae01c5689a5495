package discovery_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// manyEnv makes this test binary a process that registers many instances at the endpoints that
// it names, says so and waits: something to kill.
const manyEnv = "ETCDKIT_TEST_MANY"

const (
	many    = 2000
	manyTTL = 2 * time.Second
)

func runMany() int {
	if err := registerMany(strings.Split(os.Getenv(manyEnv), ",")); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	return 0
}

func registerMany(endpoints []string) error {
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	r, err := registry.New(cli, &registry.Options{TTL: manyTTL})
	if err != nil {
		return err
	}
	instances := make([]registry.Instance, many)
	for n := range instances {
		instances[n] = registry.Instance{Service: "web", ID: fmt.Sprintf("%04d", n), Addr: fmt.Sprintf("10.0.%d.%d:80", n/250, n%250)}
	}
	_, err = r.Register(context.Background(), instances...)
	return err
}

// Without protection they are gone when their leases have ended, with it they are marked.
func TestInstancesThatDieAtOnceAreGoneWithTheirLeasesOrMarked(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), manyEnv+"="+strings.Join(c.Endpoints(), ","))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	t.Cleanup(func() {
		if !killed {
			_ = child.Process.Kill()
		}
		_ = child.Wait() // killed, it says
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "registered\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
	v, err := discovery.Open(bounded(t), etcdtest.Client(t, c), "web", &discovery.Options{KeepExpired: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	keeping, err := discovery.Open(bounded(t), etcdtest.Client(t, c), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer keeping.Close()
	for _, v := range []*discovery.View{v, keeping} {
		if got := len(v.Instances()); got != many {
			t.Fatalf("void: %d instances, want %d", got, many)
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed = true
	began, ctx := time.Now(), bounded(t)
	for {
		changed := v.Changed()
		left := len(v.Instances())
		if left == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d are still there", left)
		}
	}
	took := time.Since(began)
	t.Logf("the last of %d was gone %v after they died, with TTL %v", many, took.Round(time.Millisecond), manyTTL)
	if took > manyTTL+4*time.Second {
		t.Errorf("gone after %v, want TTL + 4 s", took)
	}
	if s := v.State(); !s.Fresh {
		t.Errorf("state %+v, want the empty list fresh", s)
	}
	for marked := 0; marked != many; {
		changed := keeping.Changed()
		marked = 0
		for _, i := range keeping.Instances() {
			if i.Status == discovery.Expired {
				marked++
			}
		}
		if s := keeping.State(); marked == many {
			if !s.Fresh || s.Expired != many {
				t.Errorf("with protection: state %+v, want it fresh, and %d kept", s, many)
			}
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("with protection: %d of %d are listed, %d as expired", len(keeping.Instances()), many, marked)
		}
	}
}

// A view's list is changed, not read again: whatever happens it is what List reads.
func TestWhateverChangesTheListIsWhatEtcdHas(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	v := open(t, cli, prefix)
	values := []string{"h:1", "some text", `{"Addr":"h:2","Metadata":{"weight":3}}`, `{"Addr":`, `{"Addr":"h:3","Metadata":{"status":"draining"}}`}
	for round := range 200 {
		var ops []clientv3.Op
		for _, n := range rand.Perm(40)[:1+rand.IntN(20)] {
			key := fmt.Sprintf("%sweb/%02d", prefix, n)
			if rand.IntN(3) == 0 {
				ops = append(ops, clientv3.OpDelete(key))
			} else {
				ops = append(ops, clientv3.OpPut(key, values[rand.IntN(len(values))]))
			}
		}
		resp, err := cli.Txn(bounded(t)).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		want, err := discovery.List(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		for ctx := bounded(t); !equal(v.Instances(), want); {
			changed := v.Changed()
			if equal(v.Instances(), want) {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("round %d, revision %d: got %q, want %q", round, resp.Header.Revision, ids(v.Instances()), ids(want))
			}
		}
	}
}

func equal(a, b []*discovery.Instance) bool {
	return slices.EqualFunc(a, b, func(a, b *discovery.Instance) bool {
		return a.ID == b.ID && a.Addr == b.Addr && a.Raw == b.Raw && a.Weight == b.Weight && a.Status == b.Status
	})
}

// A role that is taken away and given back.
func TestAViewWithoutTheRightIsStaleAndSaysWhy(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	cli := etcdtest.User(t, c, root, "amy", "/services/")
	put(t, root, "/services/web/a", "h:1")
	v, err := discovery.Open(bounded(t), cli, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, step := range []struct {
		change func(context.Context, string, string) error
		fresh  bool
	}{
		{func(ctx context.Context, user, role string) error {
			_, err := root.UserRevokeRole(ctx, user, role)
			return err
		}, false},
		{func(ctx context.Context, user, role string) error {
			_, err := root.UserGrantRole(ctx, user, role)
			return err
		}, true},
	} {
		turned := v.FreshnessChanged()
		if err := step.change(bounded(t), "amy", "amy"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-turned:
		case <-bounded(t).Done():
			t.Fatalf("fresh did not become %t: %+v", step.fresh, v.State())
		}
		s := v.State()
		if s.Fresh != step.fresh || ids(v.Instances()) != "a" {
			t.Errorf("list %q, state %+v; want a, fresh %t", ids(v.Instances()), s, step.fresh)
		}
		if !step.fresh && !strings.Contains(fmt.Sprint(s.Cause), "permission denied") {
			t.Errorf("cause %v, want the permission", s.Cause)
		}
	}
}

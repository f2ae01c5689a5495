package cluster_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestASmallQuotaIsUsedUpAndTheClusterComesBack(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 4 << 20})
	cli := etcdtest.Client(t, c)
	value := strings.Repeat("v", 1<<20)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = cli.Put(t.Context(), "k", value)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("100 MiB of values: %v, want ErrNoSpace", err)
	}
	resp, err := cli.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Defragment(t.Context(), c.Endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	put(t, cli, "k", "v")
}

func TestATokenThatIsNotUsedEndsAfterItsTTL(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, AuthTokenTTL: time.Second})
	root := etcdtest.EnableAuth(t, c)
	put(t, root, "k", "v")
	// clientv3 hides that a token has ended by asking for another one: here it is sent by hand.
	auth, err := root.Authenticate(t.Context(), "root", etcdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	withToken := metadata.AppendToOutgoingContext(t.Context(), rpctypes.TokenFieldNameGRPC, auth.Token)
	plain := etcdtest.Client(t, c)
	if _, err := plain.Get(withToken, "k"); err != nil {
		t.Fatalf("void: a fresh token is refused: %v", err)
	}
	// Each use prolongs a token, so it is left alone for its TTL; the server looks once a second.
	clock, err := root.Grant(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "a lease of 4 s still lives", func() bool {
		left, err := root.TimeToLive(t.Context(), clock.ID)
		return err == nil && left.TTL < 0
	})
	if _, err := plain.Get(withToken, "k"); !errors.Is(err, rpctypes.ErrInvalidAuthToken) {
		t.Errorf("after 4 s: %v, want ErrInvalidAuthToken", err)
	}
}

// gatewayAnswer is what a POST to the JSON API says.
func gatewayAnswer(t *testing.T, c *cluster.Cluster) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.Endpoints()[0]+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheGatewayIsOffUnlessItIsAskedFor(t *testing.T) {
	if code, body := gatewayAnswer(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})); code != http.StatusNotFound {
		t.Errorf("a cluster without Gateway answers %d %s, want 404", code, body)
	}
	if code, body := gatewayAnswer(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1, Gateway: true})); code != http.StatusOK || !strings.Contains(body, `"version":"3.7`) {
		t.Errorf("a cluster with Gateway answers %d %s, want its status", code, body)
	}
}

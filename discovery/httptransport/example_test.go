package httptransport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/registry"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: c.Endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cli.Close()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s", r.URL.Path, r.Host)
	}))
	defer server.Close()
	reg, err := registry.Register(ctx, cli, registry.Instance{
		Service: "web", ID: "node1", Addr: server.Listener.Addr().String(),
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reg.Close()

	t := httptransport.New(cli, nil)
	defer t.Close()
	web := &http.Client{Transport: t, Timeout: 5 * time.Second}
	for _, u := range []string{"http://web/index", "http://wep/index"} {
		resp, err := web.Get(u)
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.Status, string(body), err)
	}
	// Output:
	// 200 OK /index of web <nil>
	// Get "http://wep/index": httptransport: no instance of "wep" is registered, as etcd confirms
}

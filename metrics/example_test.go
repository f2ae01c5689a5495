package metrics_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/metrics"
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
	if _, err := cli.Put(ctx, "/services/web/node1", "10.0.0.7:8080"); err != nil {
		fmt.Println(err)
		return
	}

	m := metrics.New()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	v, err := discovery.Open(ctx, cli, "web", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	defer m.View(v)()

	families, err := r.Gather() // what promhttp.HandlerFor(r, …) does at each scrape
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			if f.GetName() == "etcdkit_instances" && s.GetGauge().GetValue() > 0 {
				fmt.Print(f.GetName())
				for _, l := range s.GetLabel() {
					fmt.Printf(" %s=%s", l.GetName(), l.GetValue())
				}
				fmt.Println(":", s.GetGauge().GetValue())
			}
		}
	}
	// Output: etcdkit_instances service=web status=passing: 1
}

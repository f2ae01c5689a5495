//go:build !etcdkit_client

package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAMembersMetricsAreThere checks that the metrics whose registration is put off are those that members report.
func TestAMembersMetricsAreThere(t *testing.T) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, f := range families {
		found[f.GetName()] = true
	}
	for _, want := range []string{"etcd_server_has_leader", "etcd_disk_wal_fsync_duration_seconds", "go_goroutines", "process_start_time_seconds"} {
		if !found[want] {
			t.Errorf("metric %s is missing; there are %d", want, len(found))
		}
	}
}

package place

import (
	"strings"
	"testing"
)

func TestChildrenReachTheClusterThatPackageClientWouldReach(t *testing.T) {
	for _, tc := range []struct {
		name           string
		environ        []string
		endpoints      string
		want, unwanted string
	}{
		{"ETCDKIT_ before ETCDCTL_", []string{"ETCDKIT_CACERT=a", "ETCDCTL_CACERT=b"}, "https://h:1", "ETCDCTL_CACERT=a ETCDKIT_CACERT=a", "=b"},
		{"ETCDCTL_ where there is no ETCDKIT_", []string{"ETCDCTL_CACERT=b", "ETCDKIT_CERT=c", "ETCDCTL_KEY=k"}, "https://h:1", "ETCDCTL_CACERT=b ETCDCTL_CERT=c ETCDCTL_KEY=k", "ETCDCTL_CERT=b"},
		{"no files beside http", []string{"ETCDKIT_ENDPOINTS=http://h:1", "ETCDCTL_CACERT=b"}, "http://h:1", "ETCDCTL_ENDPOINTS=http://h:1", "CACERT"},
		{"a password within the user goes before theirs", []string{"ETCDKIT_USER=amy:one", "ETCDCTL_PASSWORD=two"}, "h:1", "ETCDCTL_USER=amy ETCDCTL_PASSWORD=one", "two"},
		{"and not before one from the same place", []string{"ETCDCTL_USER=amy:one", "ETCDCTL_PASSWORD=two"}, "h:1", "ETCDCTL_USER=amy ETCDCTL_PASSWORD=two", "one"},
		{"nor before ETCDKIT_PASSWORD", []string{"ETCDCTL_USER=amy:one", "ETCDKIT_PASSWORD=two"}, "h:1", "ETCDCTL_USER=amy ETCDCTL_PASSWORD=two", "one"},
		{"what is not a cluster's stays", []string{"PATH=/bin", "ETCDCTL_WRITE_OUT=json"}, "h:1", "PATH=/bin ETCDCTL_WRITE_OUT=json", "CACERT"},
		{"and no name of another cluster", []string{"ETCDCTL_DISCOVERY_SRV=example.org"}, "h:1", "ETCDCTL_ENDPOINTS=h:1", "example.org"},
	} {
		got := " " + strings.Join(Environ(tc.environ, strings.Split(tc.endpoints, ",")), " ") + " "
		for want := range strings.FieldsSeq(tc.want) {
			if !strings.Contains(got, " "+want+" ") {
				t.Errorf("%s: got%s, want %s in it", tc.name, got, want)
			}
		}
		if strings.Contains(got, tc.unwanted) {
			t.Errorf("%s: got%s, which has %s", tc.name, got, tc.unwanted)
		}
	}
}

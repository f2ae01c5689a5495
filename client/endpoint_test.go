package client_test

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/client"
)

func TestEndpointsAreTidied(t *testing.T) {
	for _, test := range []struct{ given, want []string }{
		{[]string{" a:1 ", "", "\tb:2\n"}, []string{"a:1", "b:2"}},
		{[]string{"a:1", "b:2", "a:1"}, []string{"a:1", "b:2"}},
		{[]string{"a:1", "http://A:1/"}, []string{"a:1"}},
		{[]string{"HTTP://a:1", "http://b:2/"}, []string{"http://a:1", "http://b:2"}},
		{[]string{"https://a:1"}, []string{"https://a:1"}},
		{[]string{"127.0.0.1:1", "[::1]:1", "a-b.c_d.example.:65535"}, []string{"127.0.0.1:1", "[::1]:1", "a-b.c_d.example.:65535"}},
		{[]string{"unix:///run/etcd.sock", "unix://etcd.sock"}, []string{"unix:///run/etcd.sock", "unix://etcd.sock"}},
		{[]string{"unixs:///run/etcd.sock"}, []string{"unixs:///run/etcd.sock"}},
	} {
		got, err := client.Endpoints(&client.Options{Endpoints: test.given})
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("Endpoints %q: got %q, %v, want %q", test.given, got, err, test.want)
		}
	}
}

func TestMalformedEndpointsAreNamedWithTheReason(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"localhost", "no port"},
		{"http://localhost", "no port"},
		{"[::1]", "no port"},
		{"127.0.0.1", "no port"},
		{"::1", "no port"},
		{"fe80::1:2379:x", "brackets"},
		{"a:b:1", "brackets"},
		{":2379", "no host"},
		{"http://:2379", "no host"},
		{"http://", "no port"},
		{"localhost:", "bad port"},
		{"localhost:0", "bad port"},
		{"localhost:65536", "bad port"},
		{"localhost:+1", "bad port"},
		{"localhost:-1", "bad port"},
		{"localhost:etcd", "bad port"},
		{"[127.0.0.1]:1", "bad host"},
		{"[localhost]:1", "bad host"},
		{"[fe80::1%eth0]:1", "zone"},
		{"127.0.0.256:1", "not an IPv4 address"},
		{"127.1:1", "not an IPv4 address"},
		{"a..b:1", "bad host"},
		{"a$b:1", "bad host"},
		{"é.example:1", "bad host"},
		{strings.Repeat("x", 64) + ":1", "bad host"},
		{strings.Repeat("x.", 127) + "y:1", "bad host"},
		{"http://localhost:1/v3", "path"},
		{"localhost:1/v3", "path"},
		{"localhost:1?x=y", "path"},
		{"ftp://localhost:1", `unknown scheme "ftp"`},
		{"://localhost:1", `unknown scheme ""`},
		{"a:1,b:2", "comma"},
		{"a:1 b:2", "space"},
		{"a\x00:1", "control character"},
		{"a\u200b:1", "control character"},
		{"unix://", "path"},
		{"unix:///a?b", "'?'"},
		{"unix:/run/etcd.sock", "path"},
	} {
		t.Run(test.given, func(t *testing.T) {
			_, err := client.Endpoints(&client.Options{Endpoints: []string{"good:1", test.given}})
			wantError(t, err, client.ErrInvalid, "endpoint "+strconv.Quote(test.given), test.want)
		})
	}
}

func TestAMalformedEndpointIsBlamedOnItsVariable(t *testing.T) {
	for _, variable := range []string{"ETCDKIT_ENDPOINTS", "ETCDCTL_ENDPOINTS"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "good:1,bad")
			_, err := client.Endpoints(nil)
			wantError(t, err, client.ErrInvalid, `endpoint "bad" (from `+variable+")")
		})
	}
}

func TestAPasswordInAnEndpointIsNotRepeated(t *testing.T) {
	for _, given := range []string{
		"http://amy:secret@localhost:2379",
		"amy:secret@localhost:2379",
		"amy:secret@http://localhost:2379",
		"amy://secret@http://localhost:2379",
		"unix://amy:secret@/run/etcd.sock",
	} {
		t.Run(given, func(t *testing.T) {
			_, err := client.Endpoints(&client.Options{Endpoints: []string{given}})
			wantError(t, err, client.ErrInvalid, "xxxxx@", "user")
		})
	}
}

// Whatever is given, the outcome is an ErrInvalid in one line, or an endpoint
// that another pass leaves as it is, that has a port, and that clientv3 takes
// for what it is. A password put in front is never repeated.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{
		"localhost:2379", "http://127.0.0.1:2379/", "https://[::1]:2379", "HTTPS://A.example.:1", "unix:///run/x", "unixs://x",
		"http://amy:secret@h:1", "a:1,b:2", " a:1 ", "::1", "[::1%25lo]:1", "127.1:1", "a:0x1", "a\x00b:1", "http://a:1#", "http:////a:1", "unix://a b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		const password = "sEcReT"
		_, err := client.Endpoints(&client.Options{Endpoints: []string{"http://amy:" + password + "@" + given}})
		if err == nil || strings.Contains(err.Error(), password) && !strings.Contains(given, password) {
			t.Errorf("Endpoints %q after a user and a password: got error %v, want one without the password", given, err)
		}
		got, err := client.Endpoints(&client.Options{Endpoints: []string{given}})
		if err != nil {
			if !errors.Is(err, client.ErrInvalid) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Endpoints %q: got error %q, want an ErrInvalid in one line", given, err)
			}
			return
		}
		again, err := client.Endpoints(&client.Options{Endpoints: got})
		if err != nil || len(got) != 1 || !slices.Equal(again, got) {
			t.Fatalf("Endpoints %q: got %q, and of that %q, %v, want one and the same", given, got, again, err)
		}
		if address, unix := address(got[0]); !unix {
			_, port, err := net.SplitHostPort(address)
			if n, _ := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				t.Errorf("Endpoints %q: got %q, want host:port with a port from 1 to 65535", given, got)
			}
		}
		cli, err := clientv3.New(clientv3.Config{Endpoints: got, Logger: zap.NewNop()})
		if err != nil {
			t.Fatalf("Endpoints %q: got %q, to which clientv3 says %v", given, got, err)
		}
		defer cli.Close()
		if target := cli.ActiveConnection().CanonicalTarget(); !strings.HasPrefix(target, "etcd-endpoints://") {
			t.Errorf("Endpoints %q: got %q, for which gRPC's target is %q, want etcd-endpoints://", given, got, target)
		}
	})
}

func address(endpoint string) (address string, unix bool) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	if !ok {
		return endpoint, false
	}
	return rest, strings.HasPrefix(scheme, "unix")
}

package etcdtest_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// serial is the serial number of the certificate that the cluster shows now.
func serial(t *testing.T, c *cluster.Cluster, cfg *tls.Config) string {
	t.Helper()
	conn, err := tls.Dial("tcp", c.State().Members[0].Client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestMembersShowAReplacedCertificateToTheNextConnection(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	server := ca.Issue("server", time.Hour)
	me := ca.Issue("me", time.Hour)
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	opts := &client.Options{Endpoints: c.Endpoints(), CACert: ca.File, Cert: me, Key: me}
	cli, err := client.Dial(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if _, err := cli.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(me, me)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
	before := serial(t, c, cfg)
	ca.Issue("server", time.Hour)
	if after := serial(t, c, cfg); after == before {
		t.Error("after the file was replaced, the member shows the old certificate")
	}
	if _, err := cli.Put(t.Context(), "k", "v"); err != nil {
		t.Errorf("put over a connection from before: %v", err)
	}
	second, err := client.Dial(t.Context(), opts)
	if err != nil {
		t.Fatalf("dial after the file was replaced: %v", err)
	}
	second.Close()

	ca.Issue("me", -time.Minute)
	if cli, err := client.Dial(t.Context(), opts); !errors.Is(err, client.ErrInvalid) && !errors.Is(err, client.ErrTLS) {
		if err == nil {
			cli.Close()
		}
		t.Errorf("dial with an expired certificate: %v, want ErrInvalid or ErrTLS", err)
	}
}

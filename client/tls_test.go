package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// secureMember starts a member with TLS and returns its https:// endpoint.
func secureMember(t *testing.T, files *cluster.TLS) string {
	t.Helper()
	return etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true, ClientTLS: files}).Endpoints()[0]
}

func wantDial(t *testing.T, opts *client.Options) {
	t.Helper()
	cli, err := client.Dial(t.Context(), opts)
	if err != nil {
		t.Errorf("Dial %+v: %v", opts, err)
		return
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	if _, err := cli.Put(ctx, "key", "value"); err != nil {
		t.Errorf("Put after Dial %+v: %v", opts, err)
	}
}

// wantDialError checks that Dial fails, and not by waiting for its deadline.
func wantDialError(t *testing.T, opts client.Options, kind error, words ...string) error {
	t.Helper()
	opts.Timeout = time.Hour
	began := time.Now()
	cli, err := client.Dial(t.Context(), &opts)
	if err == nil {
		cli.Close()
	}
	if took := time.Since(began); took > generous {
		t.Errorf("Dial %+v: took %v, want an error at once", opts, took)
	}
	wantError(t, err, kind, words...)
	return err
}

func TestTLSIsUsedWhenTheEndpointOrAFileSaysSo(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server", func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "etcd.sock") })
	endpoint := secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key})
	address := strings.TrimPrefix(endpoint, "https://")
	_, port, _ := net.SplitHostPort(address)

	wantDial(t, &client.Options{Endpoints: []string{endpoint}, CACert: ca.file})
	wantDial(t, &client.Options{Endpoints: []string{address}, CACert: ca.file})
	wantDial(t, &client.Options{Endpoints: []string{"localhost:" + port}, CACert: ca.file})
	wantDial(t, &client.Options{Endpoints: []string{endpoint}, CACert: ca.file, User: "amy:secret"}) // authentication is off

	socket := filepath.Join(t.TempDir(), "etcd.sock")
	forward(t, listen(t, "unix://"+socket), address)
	wantDial(t, &client.Options{Endpoints: []string{"unixs://" + socket}, CACert: ca.file})
	wantDial(t, &client.Options{Endpoints: []string{"unix://" + socket}, CACert: ca.file})

	t.Run("from the environment", func(t *testing.T) {
		env{"ETCDCTL_ENDPOINTS": address, "ETCDCTL_CACERT": ca.file}.set(t)
		wantDial(t, nil)
	})
}

func TestTLSFailuresAreExplained(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue("server", nil)
	endpoint := secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key})
	expiredCert, expiredKey := ca.issue("expired", expire)
	expired := secureMember(t, &cluster.TLS{CertFile: expiredCert, KeyFile: expiredKey})
	foreignCert, foreignKey := ca.issue("foreign", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} })
	foreign := secureMember(t, &cluster.TLS{CertFile: foreignCert, KeyFile: foreignKey})
	shared, _ := etcdtest.New(t)
	plain := shared.Endpoints()[0]

	for _, test := range []struct {
		name string
		opts client.Options
		want string
	}{
		{"http to a server with TLS", client.Options{Endpoints: []string{"http://" + strings.TrimPrefix(endpoint, "https://")}},
			"wants TLS but was addressed without: use https://"},
		{"https to a server without", client.Options{Endpoints: []string{"https://" + plain}},
			"does not use TLS but was addressed with it: use http://"},
		{"a CA file for a server without TLS", client.Options{Endpoints: []string{plain}, CACert: ca.file},
			"does not use TLS but was addressed with it: use http:// and no TLS files"},
		{"no CA file", client.Options{Endpoints: []string{endpoint}},
			"its certificate is signed by an unknown authority: set CACert or ETCDKIT_CACERT"},
		{"another CA file", client.Options{Endpoints: []string{endpoint}, CACert: other.file},
			`its certificate is signed by none of the authorities in CACert "` + other.file},
		{"an expired certificate", client.Options{Endpoints: []string{expired}, CACert: ca.file},
			"its certificate is valid only from "},
		{"a certificate for another host", client.Options{Endpoints: []string{foreign}, CACert: ca.file},
			"certificate is valid for 127.0.0.9, not 127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := wantDialError(t, test.opts, client.ErrTLS, "no member answered: "+test.opts.Endpoints[0]+": "+test.want)
			if !errors.Is(err, client.ErrUnreachable) {
				t.Errorf("got error %v, want one that is ErrUnreachable too", err)
			}
		})
	}

	t.Run("typed", func(t *testing.T) {
		err := wantDialError(t, client.Options{Endpoints: []string{endpoint}}, client.ErrTLS)
		if authority := (x509.UnknownAuthorityError{}); !errors.As(err, &authority) {
			t.Errorf("got error %v, want an x509.UnknownAuthorityError in it", err)
		}
	})
}

func TestAServerThatSpeaksTLSAndIsNotEtcdIsNamed(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server", nil)
	for _, test := range []struct{ name, endpoint, want string }{
		{"no HTTP/2, and says so", talkingTLS(t, cert, key, "", "http/1.1"), "ended the TLS handshake: no application protocol"},
		{"no HTTP/2, and does not say so", talkingTLS(t, cert, key, ""), "speaks TLS but not HTTP/2"},
		{"other words", talkingTLS(t, cert, key, "hello, this is dog\n", "h2"), "speaks TLS but not gRPC"},
		{"an end", talkingTLS(t, cert, key, "", "h2"), "closed the connection after the TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantDialError(t, client.Options{Endpoints: []string{test.endpoint}, CACert: ca.file}, client.ErrUnreachable, test.endpoint+": "+test.want)
		})
	}
}

func TestOneGoodCertificateIsEnough(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server", nil)
	good := secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key})
	expiredCert, expiredKey := ca.issue("expired", expire)
	bad := secureMember(t, &cluster.TLS{CertFile: expiredCert, KeyFile: expiredKey})
	wantDial(t, &client.Options{Endpoints: []string{bad, good}, CACert: ca.file})
}

func TestAClientCertificateIsPresented(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue("server", nil)
	endpoint := []string{secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.file})}

	amyCert, amyKey := ca.issue("amy", nil)
	wantDial(t, &client.Options{Endpoints: endpoint, CACert: ca.file, Cert: amyCert, Key: amyKey})

	wantDialError(t, client.Options{Endpoints: endpoint, CACert: ca.file},
		client.ErrTLS, endpoint[0]+": wants a client certificate", "set Cert and Key, or ETCDKIT_CERT and ETCDKIT_KEY")
	strangerCert, strangerKey := other.issue("stranger", nil)
	wantDialError(t, client.Options{Endpoints: endpoint, CACert: ca.file, Cert: strangerCert, Key: strangerKey},
		client.ErrTLS, endpoint[0]+": refused the client certificate", strangerCert, "unknown certificate authority")
	oldCert, oldKey := ca.issue("old", expire)
	wantDialError(t, client.Options{Endpoints: endpoint, CACert: ca.file, Cert: oldCert, Key: oldKey},
		client.ErrTLS, endpoint[0]+": refused the client certificate", oldCert, "expired certificate")
}

// The client connects with its first request, after the files have changed.
func TestAClientCertificateIsReadAgainForEachConnection(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue("server", nil)
	endpoint := secureMember(t, &cluster.TLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.file})
	goodCert, goodKey := ca.issue("amy", nil)
	badCert, badKey := other.issue("amy", nil)

	for _, test := range []struct {
		name      string
		cert, key string // what the files have in them when the client connects
		works     bool
	}{
		{"replaced by a pair that the server refuses", badCert, badKey, false},
		{"only one file replaced so far", badCert, goodKey, true},
		{"gone", "", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := filepath.Join(t.TempDir(), "pair")
			replace(t, files+".pem", goodCert)
			replace(t, files+"-key.pem", goodKey)
			cli, err := client.Dial(t.Context(), &client.Options{
				Endpoints: []string{endpoint}, CACert: ca.file, Cert: files + ".pem", Key: files + "-key.pem"})
			if err != nil {
				t.Fatal(err)
			}
			defer cli.Close()
			replace(t, files+".pem", test.cert)
			replace(t, files+"-key.pem", test.key)

			timeout := generous
			if !test.works {
				timeout = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			if _, err := cli.Put(ctx, "key", "value"); (err == nil) != test.works {
				t.Errorf("Put with the client's files %s: got error %v, want it to work: %t", test.name, err, test.works)
			}
		})
	}
}

// replace makes file a copy of another one, or removes it.
func replace(t *testing.T, file, by string) {
	t.Helper()
	if by == "" {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(by)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadTLSFilesAreNamedAndNothingIsSent(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("amy", nil)
	_, otherKey := ca.issue("bob", nil)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("-----BEGIN NONSENSE-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	directory := t.TempDir()

	for _, test := range []struct {
		name string
		opts client.Options
		env  env
		want []string
	}{
		{"no such CA file", client.Options{CACert: missing}, nil, []string{`CACert "` + missing + `": no such file or directory`}},
		{"no such CA file, our variable", client.Options{}, env{"ETCDKIT_CACERT": missing}, []string{`ETCDKIT_CACERT "` + missing}},
		{"no such CA file, etcdctl's variable", client.Options{}, env{"ETCDCTL_CACERT": missing}, []string{`ETCDCTL_CACERT "` + missing}},
		{"a CA file that is a directory", client.Options{CACert: directory}, nil, []string{"CACert", directory, "is a directory"}},
		{"a CA file with no certificate", client.Options{CACert: empty}, nil, []string{"CACert", empty, "no PEM certificate"}},
		{"a CA file with a key", client.Options{CACert: key}, nil, []string{"CACert", key, "no PEM certificate"}},
		{"a certificate without a key", client.Options{Cert: cert}, nil, []string{"Cert is set", "ETCDKIT_KEY"}},
		{"a certificate without a key, variable", client.Options{}, env{"ETCDCTL_CERT": cert}, []string{"ETCDCTL_CERT is set", "ETCDKIT_KEY"}},
		{"a key without a certificate", client.Options{Key: key}, nil, []string{"Key is set", "ETCDKIT_CERT"}},
		{"no such certificate", client.Options{Cert: missing, Key: key}, nil, []string{`Cert "` + missing + `": no such file`}},
		{"no such key", client.Options{Cert: cert, Key: missing}, nil, []string{`Key "` + missing + `": no such file`}},
		{"a certificate with no certificate", client.Options{Cert: empty, Key: key}, nil, []string{"Cert", empty}},
		{"another certificate's key", client.Options{Cert: cert, Key: otherKey}, nil, []string{"Cert", cert, "Key", otherKey, "does not match"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.env.set(t)
			silent := newSilentServer(t)
			test.opts.Endpoints = []string{silent.addr}
			wantDialError(t, test.opts, client.ErrInvalid, test.want...)
			if n := len(silent.accepted); n != 0 {
				t.Errorf("Dial %+v: made %d connections, want none", test.opts, n)
			}
		})
	}
}

func TestTheTLSConfigurationIsThatOfDial(t *testing.T) {
	none := func(string) string { return "" }
	if cfg, err := client.TLSConfig(&client.Options{Endpoints: []string{"http://127.0.0.1:1"}, Getenv: none}); cfg != nil || err != nil {
		t.Errorf("plaintext: got %v, %v, want nil", cfg, err)
	}
	if cfg, err := client.TLSConfig(&client.Options{Endpoints: []string{"https://127.0.0.1:1"}, Getenv: none}); cfg == nil || err != nil || cfg.RootCAs != nil {
		t.Errorf("https alone: got %v, %v, want the system's authorities", cfg, err)
	}
	if _, err := client.TLSConfig(&client.Options{Endpoints: []string{"127.0.0.1:1"}, CACert: "/nonexistent", Getenv: none}); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a file that is not there: got %v, want ErrInvalid", err)
	}
}

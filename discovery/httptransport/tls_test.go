package httptransport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

// certificate makes one for a name, and a pool that trusts it.
func certificate(t *testing.T, name string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tls starts an instance with a certificate.
func (s *site) tls(id string, cert tls.Certificate, h http.HandlerFunc) {
	s.t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	s.t.Cleanup(srv.Close)
	s.put(id, srv.Listener.Addr().String())
}

func TestHTTPSVerifiesTheServicesName(t *testing.T) {
	for name, want := range map[string]bool{"web": true, "other": false} {
		pool, cert := certificate(t, name)
		base := &http.Transport{}
		base.Clone() // which makes its TLSClientConfig
		base.TLSClientConfig.RootCAs = pool
		s := newSite(t, &httptransport.Options{Base: base})
		s.tls("a", cert, says("a"))
		s.until("a")
		req := request(t, "GET", nil)
		req.URL.Scheme = "https"
		resp, err := s.Do(req)
		if want != (err == nil) {
			t.Errorf("a certificate for %q: %v, want it taken: %t", name, err, want)
		}
		if err == nil {
			resp.Body.Close()
			if resp.ProtoMajor != 2 {
				t.Errorf("spoken: %s, want HTTP/2", resp.Proto)
			}
		} else if !strings.Contains(err.Error(), "not web") {
			t.Errorf("got %v, want it to say what name was wanted", err)
		}
	}
}

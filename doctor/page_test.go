package doctor_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/doctor"
)

// A server that stops answering, or breaks connections, says nothing about certificates.
func TestOnlyATLSAlertShowsThatACertificateIsDemanded(t *testing.T) {
	t.Parallel()
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	silent := func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() } // ends with the connection
	broken := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, test := range map[string]struct {
		auth   tls.ClientAuthType
		second http.HandlerFunc // of the requests for /version after the first one, which has a certificate
		want   string
	}{
		"it demands one":            {tls.RequireAnyClientCert, nil, "demanded"},
		"it answers without one":    {tls.RequestClientCert, nil, "not demanded"},
		"it refuses over HTTP":      {tls.RequestClientCert, refuse, "not demanded"},
		"it does not answer":        {tls.RequestClientCert, silent, ""},
		"it breaks the connections": {tls.RequestClientCert, broken, ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				var versions atomic.Int64
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/version" && versions.Add(1) > 1 && test.second != nil {
						test.second(w, req)
					}
				}))
				server.TLS = &tls.Config{ClientAuth: test.auth, MaxVersion: version}
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				server.StartTLS()
				defer server.Close()
				authorities := x509.NewCertPool()
				authorities.AddCert(server.Certificate())
				opts := &doctor.Options{Timeout: time.Second, TLS: &tls.Config{RootCAs: authorities, Certificates: server.TLS.Certificates}}
				if test.want != "" {
					opts.Timeout = generous // a slow machine is no answer
				}
				if got := doctor.CertificateDemand(within(t, generous), server.URL, opts); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	}
}

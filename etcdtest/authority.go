package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/wholefile"
)

// Authority signs certificates for a test. They are fit for members and for clients: for 127.0.0.1
// and localhost, and with a name that etcd takes for a user's.
type Authority struct {
	// File is the authority's own certificate, PEM.
	File string

	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority, whose files are removed when the test ends.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, dir: tb.TempDir()}
	a.key = a.newKey()
	a.cert = &x509.Certificate{
		Subject:               pkix.Name{CommonName: "etcdtest authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	a.File = a.write("ca", a.sign(a.cert, a.key))
	return a
}

// Issue writes a certificate that is valid until lifetime from now (less than 0: it has expired), and its
// key. Both are in one file, PEM, for both a CertFile and a KeyFile. Issue of the same name again
// replaces the file in one step, so a certificate is never read without its key.
func (a *Authority) Issue(name string, lifetime time.Duration) (file string) {
	a.tb.Helper()
	key := a.newKey()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   time.Now().Add(min(lifetime, 0) - time.Hour),
		NotAfter:    time.Now().Add(lifetime),
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	return a.write(name, append(a.sign(template, key), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...))
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	return key
}

// sign returns the certificate, PEM.
func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.tb.Helper()
	var err error
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	a.check(err)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	a.check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// write replaces a file in one step.
func (a *Authority) write(name string, b []byte) (file string) {
	a.tb.Helper()
	file = filepath.Join(a.dir, name+".pem")
	a.check(wholefile.Write(file, b))
	return file
}

func (a *Authority) check(err error) {
	a.tb.Helper()
	if err != nil {
		a.tb.Fatalf("etcdtest: certificates: %v", err)
	}
}

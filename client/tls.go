package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"sync"
)

// TLSConfig returns the TLS configuration of [Dial], for what a program asks of a member without the client,
// such as its metrics; nil means plaintext. It reads the files that opts and the environment name. Its NextProtos is h2
// alone, as gRPC wants it. Its errors are ErrInvalid.
func TLSConfig(opts *Options) (*tls.Config, error) {
	cfg, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	return cfg.loadTLS()
}

// loadTLS reads the TLS files; nil means plaintext.
func (c *config) loadTLS() (*tls.Config, error) {
	if !c.secure {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if c.ca.value != "" {
		pem, err := readFile(c.ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, configError("%s %q has no PEM certificate in it", c.ca.name, c.ca.value)
		}
	}
	if c.cert.value == "" && c.key.value == "" {
		return cfg, nil
	}
	pair, err := loadKeyPair(c.cert, c.key)
	if err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = pair.get
	return cfg, nil
}

// keyPair is the client's certificate, read again for each handshake so that a
// renewed one is used without a restart.
type keyPair struct {
	certFile, keyFile string

	mu   sync.Mutex
	good *tls.Certificate // the last that was read without an error
}

func loadKeyPair(cert, key setting) (*keyPair, error) {
	if cert.value == "" {
		return nil, configError("%s is set, but not the certificate that it belongs to: set Cert or ETCDKIT_CERT", key.name)
	}
	if key.value == "" {
		return nil, configError("%s is set, but not its key: set Key or ETCDKIT_KEY", cert.name)
	}
	certPEM, err := readFile(cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(key)
	if err != nil {
		return nil, err
	}
	good, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, configError("%s %q with %s %q: %w", cert.name, cert.value, key.name, key.value, err)
	}
	return &keyPair{certFile: cert.value, keyFile: key.value, good: &good}, nil
}

// get returns the pair on disk, or else the last good one: while the two files
// are being renewed they do not fit.
func (p *keyPair) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile); err == nil {
		p.good = &pair
	}
	return p.good, nil
}

func readFile(file setting) ([]byte, error) {
	data, err := os.ReadFile(file.value)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err // the message has the path already
	}
	if err != nil {
		return nil, configError("%s %q: %w", file.name, file.value, err)
	}
	return data, nil
}

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials/insecure"
)

func tlsFailure(err error, format string, args ...any) *failure {
	return &failure{final, fmt.Sprintf(format, args...), []error{ErrTLS, err}}
}

// handshakeFailure explains why TLS could not be agreed on.
func (d *dialer) handshakeFailure(ctx context.Context, e endpoint, err error, began time.Time) *failure {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return timeoutFailure(ctx, began, "accepted the connection but did not answer")
	case errors.As(err, &authority) && d.ca.value != "":
		return tlsFailure(err, "its certificate is signed by none of the authorities in %s %q", d.ca.name, d.ca.value)
	case errors.As(err, &authority):
		return tlsFailure(err, "its certificate is signed by an unknown authority: set CACert or ETCDKIT_CACERT")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsFailure(err, "its certificate is valid only from %s to %s",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case alert(err) != "":
		return d.alertFailure(err)
	case errors.As(err, &record) && protocolOf(record.RecordHeader[:]) == "http/1":
		return tlsFailure(err, "speaks HTTP/1 without TLS (is it etcd's peer or metrics port?)")
	case (hungUp(err) || errors.As(err, &record)) && speaksPlaintext(ctx, e):
		return tlsFailure(err, "does not use TLS but was addressed with it: use http:// and no TLS files")
	case hungUp(err):
		return newFailure(notListening, err, "closed the connection without an answer")
	case errors.As(err, &record):
		return tlsFailure(err, "does not speak TLS")
	}
	return tlsFailure(err, "%s", trimTLS(err))
}

// afterHandshakeFailure explains why there was no answer on a connection after the handshake. In TLS 1.3
// that is when a server rejects the client's certificate.
func (d *dialer) afterHandshakeFailure(line *sniffer, err error) *failure {
	switch err := line.readErr(); {
	case alert(err) != "":
		return d.alertFailure(err)
	case line.protocol() == "":
		return newFailure(notListening, err, "closed the connection after the TLS handshake")
	}
	return newFailure(final, err, "speaks TLS but not gRPC")
}

// alertFailure explains a TLS alert from the server.
func (d *dialer) alertFailure(err error) *failure {
	text := alert(err)
	switch {
	case !strings.Contains(text, "certificate"):
		return tlsFailure(err, "ended the TLS handshake: %s", text)
	case d.cert.value == "":
		return tlsFailure(err, "wants a client certificate (%s): set Cert and Key, or ETCDKIT_CERT and ETCDKIT_KEY", text)
	}
	return tlsFailure(err, "refused the client certificate %q: %s", d.cert.value, text)
}

// alert returns the text of a TLS alert that the other side sent, or "".
func alert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return trimTLS(op.Err)
	}
	return ""
}

// hungUp tells whether the other side closed the connection, and not an error of TLS itself.
func hungUp(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

func trimTLS(err error) string {
	text := err.Error()
	for _, prefix := range []string{"tls: ", "failed to verify certificate: ", "x509: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// A server that gets a request in the wrong protocol closes the connection without an answer. Only a
// request in the other protocol tells what the server is.

func speaksTLS(ctx context.Context, e endpoint) bool {
	conn, err := connect(ctx, e)
	if err != nil {
		return false
	}
	defer conn.Close()
	// Nothing is sent after the handshake, so any certificate will do.
	_, err = handshake(ctx, conn, e, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	return err == nil || alert(err) != "" || errors.Is(err, errNoHTTP2)
}

func speaksPlaintext(ctx context.Context, e endpoint) bool {
	conn, err := connect(ctx, e)
	if err != nil {
		return false
	}
	defer conn.Close()
	line := newSniffer(conn)
	_ = askStatus(ctx, line, insecure.NewCredentials()) // the first bytes are enough
	return line.protocol() == "http/2"
}

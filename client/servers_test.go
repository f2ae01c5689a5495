package client_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
)

// silentServer accepts connections and never sends anything, like a
// process that is paused.
type silentServer struct {
	addr     string
	accepted chan net.Conn // all connections
}

func newSilentServer(tb testing.TB) *silentServer {
	tb.Helper()
	l := listen(tb, "127.0.0.1:0")
	m := &silentServer{addr: l.Addr().String(), accepted: make(chan net.Conn, 1000)}
	serve(tb, l, func(conn net.Conn) { m.accepted <- conn })
	return m
}

// babbling is a server that answers anything with the same text.
func babbling(tb testing.TB, text string) string {
	tb.Helper()
	l := listen(tb, "127.0.0.1:0")
	serve(tb, l, func(conn net.Conn) { io.WriteString(conn, text) })
	return l.Addr().String()
}

// hangingUp is a server that closes every connection, like a proxy with
// nothing behind it.
func hangingUp(tb testing.TB) string {
	tb.Helper()
	l := listen(tb, "127.0.0.1:0")
	serve(tb, l, func(conn net.Conn) { conn.Close() })
	return l.Addr().String()
}

// talkingTLS is a server that agrees to TLS with one of protocols, says
// something and hangs up. It returns an https:// endpoint.
func talkingTLS(tb testing.TB, certFile, keyFile, text string, protocols ...string) string {
	tb.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	l := listen(tb, "127.0.0.1:0")
	serve(tb, l, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: protocols})
		if secured.Handshake() == nil {
			io.WriteString(secured, text)
		}
		secured.Close()
	})
	return "https://" + l.Addr().String()
}

// otherService is a gRPC server without etcd's services.
func otherService(tb testing.TB) string {
	tb.Helper()
	l := listen(tb, "127.0.0.1:0")
	server := grpc.NewServer()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	tb.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return l.Addr().String()
}

// forward passes what arrives at l on to another server, and back.
func forward(tb testing.TB, l net.Listener, to string) {
	var copying sync.WaitGroup
	tb.Cleanup(copying.Wait) // after serve's, which closes the connections
	serve(tb, l, func(conn net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			conn.Close()
			return
		}
		pass := func(a, b net.Conn) {
			io.Copy(a, b)
			a.Close()
			b.Close()
		}
		copying.Go(func() { pass(conn, server) })
		copying.Go(func() { pass(server, conn) })
	})
}

// listen listens at host:port or unix://path.
func listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	network, address := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// serve accepts connections until the test ends, when it closes all of them.
func serve(tb testing.TB, l net.Listener, accepted func(net.Conn)) {
	var serving sync.WaitGroup
	serving.Go(func() {
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
			accepted(conn)
		}
		for _, conn := range conns {
			conn.Close()
		}
	})
	tb.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
}

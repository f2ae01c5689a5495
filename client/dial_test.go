package client_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// generous is a bound for what should take far less, on a busy machine.
const generous = 30 * time.Second

func TestDialReturnsAClientThatWorks(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	for _, form := range []string{"", "http://"} {
		cli, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{form + shared.Endpoints()[0]}, Timeout: generous})
		if err != nil {
			t.Fatalf("Dial %s%s: %v", form, shared.Endpoints()[0], err)
		}
		defer cli.Close()
		if _, err := cli.Put(t.Context(), prefix+"key", "value"); err != nil {
			t.Errorf("Put: %v", err)
		}
	}
}

func TestDialReadsTheEnvironment(t *testing.T) {
	shared, _ := etcdtest.New(t)
	for _, variable := range []string{"ETCDCTL_ENDPOINTS", "ETCDKIT_ENDPOINTS"} {
		t.Setenv(variable, shared.Endpoints()[0])
		cli, err := client.Dial(t.Context(), nil)
		if err != nil {
			t.Fatalf("Dial with %s=%s: %v", variable, shared.Endpoints()[0], err)
		}
		cli.Close()
		t.Setenv(variable, "")
	}
}

func TestLocalhostIsTriedAtAllItsAddresses(t *testing.T) {
	shared, _ := etcdtest.New(t) // listens on 127.0.0.1 only
	_, port, _ := net.SplitHostPort(shared.Endpoints()[0])
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{"localhost:" + port}, Timeout: generous})
	if err != nil {
		t.Fatalf("Dial localhost:%s: %v", port, err)
	}
	cli.Close()
}

func TestTheClientOutlivesTheContextOfDial(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	cli, err := client.Dial(ctx, &client.Options{Endpoints: shared.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	cancel()
	if err := cli.Ctx().Err(); err != nil {
		t.Errorf("the client's context after Dial's was cancelled: got %v, want none", err)
	}
	if _, err := cli.Put(t.Context(), prefix+"key", "value"); err != nil {
		t.Errorf("Put after Dial's context was cancelled: %v", err)
	}
}

func TestOneMemberThatAnswersIsEnough(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	endpoints := []string{etcdtest.Addr(t), newSilentServer(t).addr, hangingUp(t), babbling(t, "SSH-2.0-OpenSSH\r\n"), shared.Endpoints()[0]}
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: endpoints, Timeout: generous})
	if err != nil {
		t.Fatalf("Dial %q, of which the last answers: %v", endpoints, err)
	}
	defer cli.Close()
	if got := cli.Endpoints(); !slices.Equal(got, endpoints) {
		t.Errorf("the client's endpoints: got %q, want %q", got, endpoints)
	}
	if _, err := cli.Put(t.Context(), prefix+"key", "value"); err != nil {
		t.Errorf("Put with four of five endpoints dead: %v", err)
	}
}

func TestDialWaitsForAClusterThatIsStarting(t *testing.T) {
	shared, _ := etcdtest.New(t)
	address := etcdtest.Addr(t)
	endpoints := []string{address, newSilentServer(t).addr} // the second one: to go on for more than a second
	dialed := make(chan error, 1)
	go func() {
		cli, err := client.Dial(t.Context(), &client.Options{Endpoints: endpoints, Timeout: generous})
		if err == nil {
			cli.Close()
		}
		dialed <- err
	}()
	select {
	case err := <-dialed:
		t.Fatalf("Dial %s within 300 ms: got %v, want it to try on", address, err)
	case <-time.After(300 * time.Millisecond): // how long the cluster takes
	}
	forward(t, listen(t, address), shared.Endpoints()[0])
	if err := <-dialed; err != nil {
		t.Errorf("Dial %s, where a member appeared: %v", address, err)
	}
}

func TestRefusedConnectionsAreReportedBeforeTheDeadline(t *testing.T) {
	a, b := etcdtest.Addr(t), etcdtest.Addr(t)
	began := time.Now()
	_, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{a, b}, Timeout: time.Hour})
	if took := time.Since(began); took < time.Second || took > generous {
		t.Errorf("Dial where no process listens: took %v, want a second, for a cluster that is starting, and not much more", took)
	}
	want := "client: no member answered: " + a + ": connection refused; " + b + ": connection refused; is a cluster running? try: etcdkit dev"
	if err == nil || err.Error() != want {
		t.Errorf("Dial where no process listens: got error %v, want %s", err, want)
	}
	for _, target := range []error{client.ErrUnreachable, syscall.ECONNREFUSED} {
		if !errors.Is(err, target) {
			t.Errorf("Dial where no process listens: got error %v, want one that is %v", err, target)
		}
	}
	for _, target := range []error{client.ErrInvalid, client.ErrTLS, client.ErrAuth, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, target) {
			t.Errorf("Dial where no process listens: got error %v, want one that is not %v", err, target)
		}
	}
}

func TestEachEndpointIsNamedWithItsOwnCause(t *testing.T) {
	causes := []struct{ endpoint, want string }{
		{etcdtest.Addr(t), "connection refused"},
		{hangingUp(t), "closed the connection without an answer"},
		{babbling(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks HTTP/1, not gRPC"},
		{babbling(t, "SSH-2.0-OpenSSH_9.9\r\n"), "speaks neither gRPC nor TLS"},
		{"unix:///no/such/socket", "no such file or directory"},
	}
	opts := &client.Options{Timeout: time.Hour}
	var want []string
	for _, c := range causes {
		opts.Endpoints = append(opts.Endpoints, c.endpoint)
		want = append(want, c.endpoint+": "+c.want)
	}
	_, err := client.Dial(t.Context(), opts)
	wantError(t, err, client.ErrUnreachable, want...)
	if strings.Contains(err.Error(), "is a cluster running") {
		t.Errorf("Dial with a server behind some endpoints: got %q, want no hint to start one", err)
	}
}

func TestASilentEndpointIsWaitedForWhenTheOthersRefuse(t *testing.T) {
	refused, silent := etcdtest.Addr(t), newSilentServer(t).addr
	_, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{refused, silent}, Timeout: 2 * time.Second})
	wantError(t, err, client.ErrUnreachable, "in time: ", refused+": connection refused", silent+": accepted the connection but did not answer within ")
	if strings.Contains(err.Error(), "is a cluster running") {
		t.Errorf("Dial with a server behind one endpoint: got %q, want no hint to start one", err)
	}
}

func TestADeadEndpointIsNamedWithItsCause(t *testing.T) {
	for _, test := range []struct{ name, endpoint, want string }{
		{"HTTP/1", babbling(t, "HTTP/1.0 404 Not Found\r\n\r\n"), "speaks HTTP/1, not gRPC (is it etcd's peer or metrics port?)"},
		{"HTTP/1 to TLS", "https://" + babbling(t, "HTTP/1.0 404 Not Found\r\n\r\n"), "speaks HTTP/1 without TLS"},
		{"other words", babbling(t, "hello, this is dog\n"), "speaks neither gRPC nor TLS"},
		{"other words to TLS", "https://" + babbling(t, "hello, this is dog\n"), "does not speak TLS"},
		{"an end", hangingUp(t), "closed the connection without an answer"},
		{"an end to TLS", "https://" + hangingUp(t), "closed the connection without an answer"},
		{"another gRPC service", otherService(t), "speaks gRPC but is not etcd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			_, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{test.endpoint}, Timeout: time.Hour})
			wantError(t, err, client.ErrUnreachable, test.endpoint+": "+test.want)
			if took := time.Since(began); took > generous {
				t.Errorf("Dial %s: took %v, want about a second at most", test.endpoint, took)
			}
		})
	}
}

func TestAHostThatDoesNotExistIsNamed(t *testing.T) {
	const endpoint = "etcd.invalid:2379" // RFC 2606; the cause depends on the machine's resolver
	_, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{endpoint}})
	wantError(t, err, client.ErrUnreachable, endpoint+": ")
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		t.Errorf("Dial %s: got error %v, want a *net.DNSError in it", endpoint, err)
	}
}

// The figure of interest is in the log; the bound is for a busy machine.
func TestBlackholedEndpointsAreNamedAtTheDeadline(t *testing.T) {
	for _, scheme := range []string{"http://", "https://"} {
		for _, user := range []string{"", "amy:secret"} {
			const timeout = 300 * time.Millisecond
			endpoints := []string{scheme + newSilentServer(t).addr, scheme + newSilentServer(t).addr, scheme + newSilentServer(t).addr}
			began := time.Now()
			_, err := client.Dial(t.Context(), &client.Options{Endpoints: endpoints, User: user, Timeout: timeout})
			late := time.Since(began) - timeout
			t.Logf("%s, user %q: returned %v after the deadline", scheme, user, late)
			if late < 0 || late > generous {
				t.Errorf("Dial %q with Timeout %v: returned %v after it", endpoints, timeout, late)
			}
			wantError(t, err, client.ErrUnreachable, "in time: "+endpoints[0]+": accepted the connection but did not answer within ", endpoints[1]+": ", endpoints[2]+": ")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial with every endpoint blackholed: got error %v, want one that is DeadlineExceeded", err)
			}
		}
	}
}

func TestTheContextsDeadlineBoundsDialWhenItIsEarlier(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := client.Dial(ctx, &client.Options{Endpoints: []string{newSilentServer(t).addr}, Timeout: time.Hour})
	wantError(t, err, client.ErrUnreachable, "in time")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want one that is DeadlineExceeded", err)
	}
}

func TestCancellationEndsDial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silent := newSilentServer(t)
	go func() {
		<-silent.accepted
		cancel()
	}()
	_, err := client.Dial(ctx, &client.Options{Endpoints: []string{silent.addr}, Timeout: time.Hour})
	wantError(t, err, client.ErrUnreachable, "cancelled", silent.addr)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Dial that was cancelled: got error %v, want one that is Canceled", err)
	}
}

func TestNothingIsSentOnceTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent := newSilentServer(t)
	_, err := client.Dial(ctx, &client.Options{Endpoints: []string{silent.addr}})
	if !errors.Is(err, context.Canceled) || len(silent.accepted) != 0 {
		t.Errorf("Dial with a cancelled context: got error %v and %d connections, want Canceled and none", err, len(silent.accepted))
	}
}

func TestAFailedDialLeavesNoConnection(t *testing.T) {
	silent := newSilentServer(t)
	_, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{silent.addr, etcdtest.Addr(t)}, Timeout: 200 * time.Millisecond})
	wantError(t, err, client.ErrUnreachable)
	for len(silent.accepted) > 0 {
		wantClosed(t, <-silent.accepted)
	}
}

func TestASuccessfulDialLeavesNoConnectionToTheOthers(t *testing.T) {
	shared, _ := etcdtest.New(t)
	silent := newSilentServer(t)
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{shared.Endpoints()[0], silent.addr}, Timeout: generous})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	for len(silent.accepted) > 0 {
		wantClosed(t, <-silent.accepted)
	}
}

// Now and then two attempts succeed before Dial has taken the first; goleak in
// TestMain sees a client that is left open.
func TestOnlyOneClientIsLeftWhenSeveralMembersAnswer(t *testing.T) {
	shared, _ := etcdtest.New(t)
	endpoints := slices.Clone(shared.Endpoints())
	for range 7 {
		l := listen(t, "127.0.0.1:0")
		forward(t, l, shared.Endpoints()[0])
		endpoints = append(endpoints, l.Addr().String())
	}
	for range 100 {
		cli, err := client.Dial(t.Context(), &client.Options{Endpoints: endpoints, Timeout: generous})
		if err != nil {
			t.Fatal(err)
		}
		cli.Close()
	}
}

func TestTheClientHasTheDialOptions(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var calls atomic.Int64
	count := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		calls.Add(1)
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	cli, err := client.Dial(t.Context(), &client.Options{
		Endpoints:   shared.Endpoints(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(count)},
		Timeout:     generous,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if _, err := cli.Get(t.Context(), prefix); err != nil || calls.Load() != 1 {
		t.Errorf("a Get through an interceptor: got %v and %d calls, want no error and 1", err, calls.Load())
	}
}

func TestAMemberIsReachedThroughASocketAndOverIPv6(t *testing.T) {
	shared, _ := etcdtest.New(t)
	endpoints := []string{"unix://" + t.TempDir() + "/etcd.sock"}
	forward(t, listen(t, endpoints[0]), shared.Endpoints()[0])
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // not every machine has IPv6
		forward(t, l, shared.Endpoints()[0])
		endpoints = append(endpoints, l.Addr().String())
	}
	for _, endpoint := range endpoints {
		cli, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{endpoint}, Timeout: generous})
		if err != nil {
			t.Errorf("Dial %s: %v", endpoint, err)
			continue
		}
		if _, err := cli.Get(t.Context(), "key"); err != nil {
			t.Errorf("Get through %s: %v", endpoint, err)
		}
		cli.Close()
	}
}

func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(generous))
	for {
		if _, err := conn.Read(make([]byte, 1024)); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection after Dial returned: still open, want closed")
			return
		} else if err != nil {
			return
		}
	}
}

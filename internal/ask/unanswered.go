package ask

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Unanswered is the error of a request that got no answer, for people: it names the endpoints and
// the cause. errors.Is and errors.As find Cause and End.
type Unanswered struct {
	Endpoints []string
	Cause     error // why the latest try failed; nil: not known
	End       error // what ended the waiting, as a context's error; nil: nothing
}

func (e *Unanswered) Error() string {
	text := "no answer from "
	if e.Cause != nil && IsAnswer(e.Cause) {
		text = "no success at " // a member answered, with an error
	}
	endpoints := strings.Join(e.Endpoints, ", ")
	text += endpoints
	if reason := Reason(e.Cause); reason != nil {
		text += ": " + strings.TrimPrefix(reason.Error(), endpoints+": ") // the only one, which failed
	}
	if e.End != nil {
		text += " (" + textOf(e.End) + ")"
	}
	return text
}

func (e *Unanswered) Unwrap() []error {
	var is []error
	for _, err := range []error{e.Cause, e.End} {
		if err != nil {
			is = append(is, err)
		}
	}
	if RefusesCertificate(e.Cause) {
		is = append(is, ErrCertificate)
	}
	return is
}

// EndpointError is the error of a try at one endpoint.
type EndpointError struct {
	Endpoint string
	Err      error
}

func (e *EndpointError) Error() string {
	var nearer *EndpointError
	if errors.As(e.Err, &nearer) { // the error of a request is that of a connection, of which it is known already
		return nearer.Error()
	}
	err := e.Err
	var known *Unanswered
	if errors.As(err, &known) && Reason(known.Cause) != nil {
		err = Reason(known.Cause)
	}
	return e.Endpoint + ": " + textOf(err)
}

func (e *EndpointError) Unwrap() error { return e.Err }

// NoAnswerWithin is the error of a try that had no answer for so long. It may still get one.
type NoAnswerWithin time.Duration

func (e NoAnswerWithin) Error() string {
	return "no answer within " + time.Duration(e).Round(time.Millisecond).String()
}

// Explain returns the error of a request that got no answer, with the endpoints and the latest cause
// that is known. Errors that etcd sent, and ErrClosed, come back as they are. For a client that was
// closed it is ErrClosed.
func (c *Client) Explain(err error) error {
	if err == nil {
		return nil
	}
	c.outage.mu.Lock()
	latest := c.outage.cause
	c.outage.mu.Unlock()
	refused := RefusesCertificate(latest) && !RefusesCertificate(err) // see recordCause
	var explained *Unanswered                                         // gRPC can have it from a Dialer, of an earlier try
	if errors.Is(err, ErrClosed) || errors.As(err, &explained) && !refused {
		return err
	}
	if closed := c.Err(); closed != nil {
		return errtext.Errorf("%w: %w", closed, err)
	}
	if IsAnswer(err) {
		return err
	}
	if TimeIsUp(err) || refused {
		return &Unanswered{Endpoints: c.cli.Endpoints(), Cause: latest, End: err}
	}
	return &Unanswered{Endpoints: c.cli.Endpoints(), Cause: err}
}

// GaveUp is the error of a caller that no longer waits, as ctx has ended. why is why its latest try
// failed, or nil; where that is no more than an outage, the error has what is known of it by now.
func (c *Client) GaveUp(ctx context.Context, why error) error {
	if err := c.Err(); err != nil {
		return errtext.Errorf("%w: %w", err, context.Cause(ctx))
	}
	why = Latest(c, why)
	c.outage.mu.Lock()
	latest := c.outage.cause
	c.outage.mu.Unlock()
	if latest != nil && (Reason(why) == nil || RefusesCertificate(latest) && !IsAnswer(why)) { // see recordCause
		why = latest
	}
	return GaveUp(c.cli.Endpoints(), context.Cause(ctx), why)
}

// GaveUp is the same of one that knows the endpoints, and the latest cause.
func GaveUp(endpoints []string, end, why error) error {
	var known *Unanswered
	if errors.As(end, &known) { // ClosingContext's
		return end
	}
	if errors.As(why, &known) {
		endpoints, why = known.Endpoints, known.Cause
	}
	return &Unanswered{endpoints, why, end}
}

// TimeIsUp tells whether an error says no more than that a context has ended.
func TimeIsUp(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || status.Code(err) == codes.DeadlineExceeded
}

// Reason is err as it should be read: without gRPC's words around it, quoted if need be, and
// cut. It is nil for an error that only says that time ran out.
func Reason(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	var at *EndpointError
	var silent NoAnswerWithin
	if errors.As(err, &at) {
		return at
	}
	if errors.As(err, &silent) {
		return silent
	}
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		return nil
	}
	return &reason{err}
}

type reason struct{ err error }

func (r *reason) Error() string { return textOf(r.err) }
func (r *reason) Unwrap() error { return r.err }

// textOf is what a person reads of an error: gRPC's, without the words around its cause.
func textOf(err error) string {
	s := errtext.Text(err)
	if st, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		s = st.GRPCStatus().Message()
	}
	const desc = `desc = "`
	for {
		i := strings.LastIndex(s, desc)
		if i < 0 {
			break
		}
		inner := strings.TrimSuffix(s[i+len(desc):], `"`)
		if unquoted, err := strconv.Unquote(`"` + inner + `"`); err == nil {
			inner = unquoted
		}
		s = inner
	}
	if strings.Contains(s, "error reading server preface") && strings.HasSuffix(s, "use of closed network connection") { // gRPC's own doing: it gave up
		return "accepts connections, and does not answer"
	}
	for _, prefix := range []string{"last connection error: ", "connection error: ", "transport: ", "Error while dialing: ", "authentication handshake failed: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return quote.Line(s, most)
}

// most is how much of a text that others wrote stands in a message.
const most = 300

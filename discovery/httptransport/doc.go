// Package httptransport sends HTTP requests to services by name: an http.RoundTripper on
// discovery.View.
//
//	t := httptransport.New(cli, nil)
//	defer t.Close()
//	web := &http.Client{Transport: t, Timeout: 5 * time.Second}
//
//	resp, err := web.Get("http://web/path") // to an instance of the service web
//
// The host of the URL is the service. Each request goes to the instance that discovery.View.Pick
// chooses: by weight, in its own zone, and not one that has just failed. The list of a service is
// opened at its first request and kept up to date until Close.
//
// # Guarantees
//
//   - A request that failed is tried at another instance where that is safe. If no connection could be
//     made, the request was never sent, and it is always tried again. If it may have arrived, as after
//     a broken connection or the answer 502, 503 or 504, it is tried again if its method is GET, HEAD,
//     OPTIONS, TRACE, PUT or DELETE, or if it has an Idempotency-Key or X-Idempotency-Key header.
//     A POST without such a header is never sent twice.
//   - A request with a body is sent again only if the body can be sent again: it was not read yet, or
//     Request.GetBody is set, as http.NewRequest does for bytes and strings.
//   - An instance that cannot be connected to, breaks a connection or does not answer in time is
//     reported to the View, and avoided for a while. A caller's cancellation does not count.
//     Three answers of 502, 503 or 504 in a row are a failure, too, or one with Retry-After, but
//     never more than half of a service is avoided for its answers.
//   - An instance that failed is tried by one request at a time. If that request can be sent again, it
//     goes to another instance after half of its time.
//   - Idle connections are closed within seconds after their instance has left the list.
//   - Once the request's context is done nothing more is tried, and its error is returned.
//   - While etcd is away requests use the last good list. When the etcd client is closed they get
//     ErrClosed immediately, which says so.
//
// # What an instance sees
//
// It gets the service as Host, unless Request.Host is set, so its links and redirects lead back through
// the Transport. With https its certificate must be valid for the service's name, whatever its address
// is: a client that can write to etcd can misdirect requests, but cannot read them.
//
// # Limits
//
// Each host opens a list: hosts must come from your program, not from its users. Once the header of an
// answer has arrived, the request is not tried again, even if the body breaks off. An overloaded
// service that answers 503 gets each request up to Options.Attempts times. An instance that accepts
// connections and does not answer, such as a stopped process, holds a request until its context is done,
// or for Options.AnswerTimeout. After the first such failure the instance is avoided.
package httptransport

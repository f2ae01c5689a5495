// Package httptransport sends HTTP requests to services by name: an http.RoundTripper on
// discovery.View.
//
//	t := httptransport.New(cli, nil)
//	defer t.Close()
//	web := &http.Client{Transport: t, Timeout: 5 * time.Second}
//
//	resp, err := web.Get("http://web/path") // to an instance of the service web
//
// The host of the URL is the service, and each request goes to the instance that
// discovery.View.Pick gives: by weight, in the own zone, not to one that has just failed. The
// list of a service is opened at its first request and followed until Close.
//
// # Guarantees
//
//   - A request that failed is tried at another instance where that is safe: one that was never
//     sent, since its instance could not be connected to, always; one that may have arrived,
//     after a broken connection or the answer 502, 503 or 504, if its method is GET, HEAD,
//     OPTIONS, TRACE, PUT or DELETE, or if it has an Idempotency-Key or X-Idempotency-Key header.
//     A POST is never sent twice.
//   - A body is sent again only if it can be had again: there is none, it was not read yet, or
//     Request.GetBody is set, as http.NewRequest does for bytes and strings.
//   - An instance that cannot be connected to, breaks a connection or does not answer in time is
//     reported to the View, and avoided for a while. A caller's cancellation says nothing of it.
//     Three answers of 502, 503 or 504 in a row are a failure, too, or one with Retry-After; for
//     its answers never more than half of a service is avoided.
//   - An instance that failed is tried by one request at a time. One that can be sent again goes
//     to another instance after half of its time.
//   - Connections that are idle are closed within seconds when their instance has left the list.
//   - Once the request's context is done nothing more is tried, and its error is returned.
//   - While etcd is away requests go on, to the last good list. When the etcd client is closed
//     they get ErrClosed at once, which says so.
//
// # What an instance sees
//
// It sees the service as Host, unless Request.Host says otherwise: what it links and redirects
// to leads back through the Transport. With https its certificate has to be valid for the
// service's name, whatever its address is: a client that can write to etcd can send requests elsewhere, but
// not read them.
//
// # Limits
//
// Each host opens a list: let hosts come from your program, not from its users. An answer is not
// tried again once its header is there, whatever becomes of its body. An overloaded service that
// answers 503 is sent up to Options.Attempts times its requests. An instance that is connected to
// and stays silent, as a process that is stopped, keeps a request until its context is done,
// unless Options.AnswerTimeout says otherwise: that is so until the first of these has failed.
package httptransport

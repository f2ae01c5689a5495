// Package ask is the one home of asking etcd: what all handles on one *clientv3.Client must decide
// together, and what all packages must answer in the same way.
//
//	etcd := ask.Of(cli)
//	again := etcd.Backoff(50*time.Millisecond, 2*time.Second)
//	for {
//		resp, err := kv.Range(ctx, req)
//		if err == nil {
//			etcd.Answered()
//			return resp, nil
//		}
//		if ask.ClassOf(err) == ask.Final {
//			return nil, err
//		}
//		etcd.Failed(err)
//		if err := again.Wait(ctx); err != nil {
//			return nil, etcd.Explain(err)
//		}
//	}
//
// # One state for each client
//
// [Of] returns the same state for the same client: whether it is closed (client.go), connections to
// single endpoints (conns.go), what is known of an outage (outage.go) with its prober (probe.go), and the
// bound of closing (closing.go). Without a client there are the error classes (classes.go), [Hedge], which makes a
// request again while a member is silent (hedge.go), contexts with two ends (context.go), and [Dialer],
// with which client.Dial puts gRPC's own connecting behind the prober as well (dialer.go). Errors for
// people are in unanswered.go.
//
// # An outage
//
// While no endpoint can be reached, one prober decides when to try again. Everything else waits
// for it. A client whose connecting goes through a [Dialer] makes at most 2 connection attempts a
// second then, however many handles it has. For another client gRPC's own attempts come on top of
// a probe each 1.8 s, after 10 s one a second: by default gRPC tries each endpoint after 1, 2.6, 5, 9,
// 16, … seconds, up to two minutes. When a probe or any other request is answered, the outage ends, and
// those that wait come back within 300 ms, with full jitter.
//
// An outage begins when gRPC says that every endpoint refuses, or when nothing has answered for 2 s,
// a caller said so, and every endpoint was then asked, over the client's own connection as well if it
// is up, and was silent for 2 s. A member without a leader answers, so it is no outage.
package ask

// Package discovery finds the instances of a service, and keeps the list while etcd is away.
//
//	v, err := discovery.Open(ctx, cli, "web", nil) // returns with the first complete list
//	if err != nil {
//		return err
//	}
//	defer v.Close()
//
//	for _, i := range v.Instances() { // a shared slice: nanoseconds, no allocation, no request
//		…
//	}
//	i, err := v.Pick() // by weight, of those that take requests; Options has other policies
//	v.Report(i, err)   // how the request ended: an instance that fails is avoided for a while
//	<-v.Changed()      // closed at the next change
//
// PickFor returns the same instance for a key in every process. List asks once. Watch is an iterator
// of complete lists. Services lists the names of all services. Packages grpcresolver and httptransport
// use Views for gRPC and net/http.
//
// # Guarantees
//
//   - An empty list was read from etcd as empty. While etcd cannot be reached, the last good list
//     stays, and State says that it is stale, since when and why.
//   - No change is missed: a View uses a mirror, which reads the keys again and reports the difference
//     where etcd has compacted away the changes in between.
//   - When most instances vanish at the same time and none has said draining, they stay listed for a
//     while, with the status Expired: it is more likely that etcd had a problem than that all have died.
//   - With Options.Dir a client starts while etcd is away, from the last good list, and State says so.
//   - A value that is not an instance is left out, and the rest of the list stays: State names its key.
//   - Values of other libraries are read: of etcd's naming package, kitex, kratos and go-micro,
//     {"host":…,"port":…}, and a bare host:port. Any other text becomes Instance.Raw, except a JSON
//     object without an address, which is not an instance. Options.Decode reads other formats. A
//     value of more than 64 KiB is not read.
//   - Views of one client and service share one watch and its confirmations.
//   - When the client is closed a View ends immediately, with mirror.ErrClosed.
//
// # Limits
//
// A list shows etcd at one moment, and may be behind it. An instance that has died stays listed until
// its lease's TTL is over.
package discovery

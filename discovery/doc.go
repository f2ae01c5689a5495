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
//	v.Report(i, err)   // how it went: one that fails is avoided for a while
//	<-v.Changed()      // closed at the next change
//
// PickFor sends a key to the same instance in every process. List asks once; Watch is an
// iterator of complete lists; Services lists the names of all services. Below it are a resolver for gRPC and a transport for net/http.
//
// # Guarantees
//
//   - An empty list was read from etcd as empty. While etcd cannot be asked, the last good list
//     stays, and State says that it is stale, since when and why.
//   - There is no gap: a View stands on a mirror, which reads again and reports the difference
//     where etcd has compacted away what was missed.
//   - When most instances vanish at once without a word they stay listed for a while, marked as
//     Expired: more likely etcd had a bad minute than they have died.
//   - With Options.Dir a client starts while etcd is away, from the last good list, and says so.
//   - A value that is not an instance costs that entry, never the list: State names it.
//   - Values of others are read: of etcd's naming package, kitex, kratos and go-micro,
//     {"host":…,"port":…}, and a bare host:port. Any other text becomes Instance.Raw, except a JSON
//     object without an address, which is not an instance. Options.Decode reads other formats. A
//     value of more than 64 KiB is not read.
//   - Views of one client and service share one watch and its confirmations.
//   - When the client is closed a View ends at once, with mirror.ErrClosed.
//
// # Limits
//
// A list is of one moment of etcd and may be behind it; an instance that it names may have died
// within its lease's TTL.
package discovery

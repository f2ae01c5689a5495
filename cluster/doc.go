// Package cluster runs local etcd clusters for development and tests, and breaks them.
//
//	func main() {
//		cluster.RunMember() // first: members are this program, executed again
//		…
//		c, err := cluster.Start(ctx, nil) // three members on 127.0.0.1:2379, 22379, 32379
//		if err != nil {
//			return err
//		}
//		defer c.Close()
//		change, err := c.Kill(ctx, "leader")
//		fmt.Println(change) // etcd1 killed · quorum 2/3 · new leader etcd3 after 1.12s · can lose 0 more
//	}
//
// # What it guarantees
//
// Start returns when a linearizable put has gone through every member. The members are real
// etcd servers (go.etcd.io/etcd/server/v3, embedded), each in a process of its own, so that
// Kill (SIGKILL) and Pause (SIGSTOP) mean what they mean in production; with
// Options.InProcess they are servers in this process, for plain tests.
//
// A TCP proxy of this package listens on each client and peer port, and the member itself
// listens on a unix socket only. The proxies hold traffic back for Isolate, Blackhole,
// Partition and Latency: a cut link is silent, as a lost network is, never reset, and what was
// sent arrives in order once it is healed. No fault needs root. With Options.Direct there are no
// proxies, for benchmarks.
//
// Every fault waits until the members that are up agree on a leader, at most 15 s, and returns
// a Change with what they reported: a measurement, not a prediction.
//
// Members never outlive this process: they end a moment after it, also when it is killed with
// kill -9. On Unix, if there is a shell, paused members end, too, and temporary data is removed.
//
// Everything listens on loopback only. The gRPC gateway is off unless Options.Gateway is set, and requests
// with another Host header than localhost's are refused, so that a web page cannot read a local etcd.
//
// A data directory with a symbolic link in it is refused: a cluster on data from an unknown archive must not
// write or delete anything outside of the directory. cluster.json is synced to the disk and has a copy.
//
// Faults take a member's name, "leader", "follower" (the first one that is up and does not lead) or "all".
//
// # Limits
//
// Not for production: one machine, no TLS between members. A connection that has
// waited a minute to send over a cut link is dropped. On Windows members cannot be paused.
package cluster

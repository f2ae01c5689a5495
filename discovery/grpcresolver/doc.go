// Package grpcresolver has gRPC clients find a service's instances in etcd, and balance them.
//
//	conn, err := grpc.NewClient("etcdkit:///web",
//		grpc.WithResolvers(grpcresolver.New(cli, nil)),
//		grpc.WithDefaultServiceConfig(grpcresolver.ServiceConfig), // the balancer "etcdkit"
//		grpc.WithTransportCredentials(…))
//
// One Builder serves any number of connections; those to one service share one
// [discovery.View], which is opened with the first and closed with the last.
//
// # Guarantees
//
//   - What a View survives, its connections do: while etcd is away they keep the last good list,
//     after a compaction they go on, and instances that vanish all at once stay in use (see
//     [discovery.Expired]). With Options.View.Dir a client starts while etcd is down.
//   - RPCs do not hang because of etcd: without a list they fail with codes.Unavailable and the
//     cause, and when nobody is registered with one that says so, and whether that is fresh.
//     Those that wait for ready wait. Opening the View is tried on for ever.
//   - Instances that are draining, critical or in maintenance are left out as long as there are
//     others. RPCs that they have are finished: with Registration.Drain and then
//     grpc.Server.GracefulStop none fails.
//   - gRPC is told of a change only if it is one of its instances' addresses, weights, zones,
//     versions, statuses or registrations. Only another address, or another process at it, ends
//     a connection.
//   - A process that is killed costs the RPCs that were under way to it, which a retryPolicy in the
//     service config repeats; gRPC sends it no other. When it is registered again it is connected
//     to at once, however long gRPC's back-off is by then.
//   - When the etcd client is closed RPCs end at once with codes.Unavailable, and say so; those
//     that wait for ready only with the balancer "etcdkit". What is under way is finished.
//
// # Balancing
//
// The balancer "etcdkit" asks [discovery.View.Pick] for each RPC: by Options.View.Policy, its own
// zone first, and avoiding those that cannot be reached or whose RPCs end with
// codes.Unavailable. It takes instances only that it is connected to.
//
// A server that hangs is avoided, too. When an RPC exceeds its deadline and its server has
// answered nothing meanwhile, the balancer sends a health check (grpc.health.v1) over the same
// connection, and a quarter of a second later calls a method that no server has. A server that
// answers neither within a second gets no RPC until it does, as long as there are others. Any answer
// will do: the server need not know the health service, and one whose own health check blocks
// still says that it does not know the method. A deadline alone is not held against a server, as more
// often than not it was too short; the third in a row is, if nothing was answered meanwhile.
//
// gRPC's own policies work, too: round_robin and least_request_experimental for even
// shares, weighted_round_robin for weights that servers report, ring_hash_experimental by our
// weights, and with an instance's ID, not its address, as its place on the ring. All of these but
// round_robin have to be imported (google.golang.org/grpc/balancer/leastrequest,
// …/weightedroundrobin, …/ringhash). They avoid no server that hangs. Without any, gRPC's default is
// pick_first: one instance for each connection. It is drawn by weight, in the zone if there is one,
// and a different one for each connection. A policy of one's own finds weight, zone and status
// with EndpointOf.
//
// # Limits
//
// RPCs without a deadline at a server that hangs wait there, and tell nobody: gRPC's keepalive
// (grpc.WithKeepaliveParams) ends its connections. A registration anew ends gRPC's own policies'
// back-off only if its host or process id is another one.
//
// Each client connects to each instance, with all policies but pick_first; for thousands of them
// see gRPC's random_subsetting_experimental, which draws instances without regard to weights.
//
// gRPC closes the resolver of a connection that has had no RPC for half an hour, and with the last
// one of a service its View: if etcd is away when the next RPC comes, it fails. A Dir helps, or
// grpc.WithIdleTimeout(0).
//
// The authority, and so the name that TLS checks, is the service's; grpc.WithAuthority changes it.
// Where HTTPS_PROXY is set gRPC takes all instances for one, the proxy: use grpc.WithNoProxy.
package grpcresolver

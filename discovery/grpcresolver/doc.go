// Package grpcresolver lets gRPC clients find a service's instances in etcd, and balances them.
//
//	conn, err := grpc.NewClient("etcdkit:///web",
//		grpc.WithResolvers(grpcresolver.New(cli, nil)),
//		grpc.WithDefaultServiceConfig(grpcresolver.ServiceConfig), // the balancer "etcdkit"
//		grpc.WithTransportCredentials(…))
//
// One Builder serves any number of connections. Connections to one service share one
// [discovery.View], which is opened with the first and closed with the last.
//
// # Guarantees
//
//   - Connections survive what a View survives: while etcd is away they keep the last good list,
//     after a compaction they go on, and instances that all vanish at the same time stay in use (see
//     [discovery.Expired]). With Options.View.Dir a client starts while etcd is down.
//   - RPCs do not hang because of etcd: without a list they fail with codes.Unavailable and the
//     cause. When no instance is registered the error says so, and whether that is fresh. RPCs that
//     wait for ready wait. Opening the View is tried until it succeeds.
//   - Instances that are draining, critical or in maintenance are left out as long as there are
//     others. RPCs that they have are finished: with Registration.Drain and then
//     grpc.Server.GracefulStop none fails.
//   - gRPC gets a new list only if an address, weight, zone, version, status or registration of its
//     instances has changed. Only another address, or another process at the address, ends a
//     connection.
//   - When a process is killed, only the RPCs fail that were under way to it. A retryPolicy in the
//     service config repeats them. When the instance is registered again, gRPC connects immediately,
//     however long its back-off is by then.
//   - When the etcd client is closed, RPCs fail immediately with codes.Unavailable, and say so. RPCs
//     that wait for ready do so only with the balancer "etcdkit". RPCs under way are finished.
//
// # Balancing
//
// The balancer "etcdkit" calls [discovery.View.PickWhere] for each RPC: it chooses by
// Options.View.Policy, prefers its own zone, and avoids instances that cannot be reached or whose RPCs
// end with codes.Unavailable. It chooses only among instances that it is connected to.
//
// A server that hangs is avoided, too. When an RPC exceeds its deadline and its server has not
// answered any RPC in that time, the balancer sends a health check (grpc.health.v1) over the same
// connection, and a quarter of a second later it calls a method that no server has. A server that
// answers neither within a second gets no RPC until it answers, as long as there are others. Any answer
// is enough: the server need not have the health service, and one whose health check blocks still
// answers that it does not have the method. One exceeded deadline is no reason to avoid a server, as it
// is usually too short. The third in a row is, if the server has not answered any RPC in between.
//
// gRPC's own policies work, too: round_robin and least_request_experimental for even
// shares, weighted_round_robin for weights that servers report, and ring_hash_experimental with the
// instances' weights, and their IDs instead of addresses as places on the ring. All but round_robin
// must be imported (google.golang.org/grpc/balancer/leastrequest,
// …/weightedroundrobin, …/ringhash). They do not avoid servers that hang. gRPC's default policy is
// pick_first: one instance for each connection, drawn by weight, in the zone if it has one. Your own
// policy gets weight, zone and status with EndpointOf.
//
// # Limits
//
// RPCs without a deadline wait at a server that hangs, and the balancer does not notice: gRPC's
// keepalive (grpc.WithKeepaliveParams) ends such connections. With gRPC's own policies, a new
// registration ends the back-off only if its host or process id has changed.
//
// Each client connects to each instance, with all policies but pick_first. For thousands of instances
// see gRPC's random_subsetting_experimental, which ignores weights.
//
// gRPC closes the resolver of a connection that has had no RPC for half an hour, and with the last
// connection to a service its View is closed: if etcd is away at the next RPC, that RPC fails. A Dir
// helps, or grpc.WithIdleTimeout(0).
//
// The authority, and so the name that TLS checks, is the service's name; grpc.WithAuthority changes it.
// If HTTPS_PROXY is set, gRPC connects to the proxy instead of the instances: use grpc.WithNoProxy.
package grpcresolver

// Package metrics shows to Prometheus what leases, locks, elections, registrations, lists, mirrors and
// HTTP requests know of themselves.
//
//	m := metrics.New()
//	prometheus.MustRegister(m) // or a registry of your own
//
//	defer m.Keeper("sessions", keeper)() // until the function ends
//	defer m.Registrar(registrar)()
//	defer m.View(view)()
//	defer m.Lock("jobs/nightly", mutex)()
//	defer m.Election("jobs/scheduler", e)()
//
// Nothing is counted here: at each scrape the handles are asked for their Stats or State, so
// what they do costs the same as without. docs/grafana.json is a dashboard of all metrics.
//
// # Guarantees
//
//   - A scrape asks nothing of etcd: while etcd is away it takes no longer and tells how old
//     things are.
//   - Cardinality is bounded by what was added: labels are names that you gave, services of your
//     own registrations and views, and fixed words.
//   - Counters of a handle never go back. Those of registrars are a sum, which a removed one
//     stays in.
//
// # Limits
//
// A View whose process is too busy to keep its list up may take a second to say so.
package metrics

// Package metrics exports the state of leases, locks, elections, registrations, views, mirrors and HTTP
// transports to Prometheus.
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
// This package counts nothing itself: each scrape reads the Stats or State of the handles, so their
// work costs the same as without metrics. docs/grafana.json is a dashboard of all metrics.
//
// # Guarantees
//
//   - A scrape sends nothing to etcd: while etcd is away it takes no longer, and shows for how long
//     lists and mirrors have been stale.
//   - Cardinality is bounded by what was added: labels are names that you gave, services of your
//     own registrations and views, and fixed words.
//   - Counters of a handle never go back. The losses of registrations are a sum, which keeps those of
//     registrars and registrations that were removed.
//
// # Limits
//
// The state of a View takes up to a second if the process is too busy to keep its list up to date.
package metrics

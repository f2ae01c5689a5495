package metrics

import "github.com/prometheus/client_golang/prometheus"

// All metrics. docs/grafana.json has a panel for each.
var (
	leases         = desc("leases", "Live leases, by Keeper.", "keeper")
	leaseRemaining = desc("lease_remaining_seconds", "Shortest time until the deadline of a lease, by Keeper; absent without a lease.", "keeper")
	leaseKeys      = desc("lease_keys", "Keys that are reserved on leases, by Keeper.", "keeper")
	leasesGranted  = desc("leases_granted_total", "Leases granted, by Keeper.", "keeper")
	leasesEnded    = desc("leases_ended_total", "Leases that ended, by Keeper and reason; closed is intended, all others are losses.", "keeper", "reason")
	keepAlives     = desc("lease_keepalives_total", "Keepalives that were answered, by Keeper.", "keeper")
	keepRetries    = desc("lease_keepalive_retries_total", "Keepalives that failed or were not answered, so that another member was asked, by Keeper.", "keeper")

	registrations     = desc("registrations", "Instances that this process registers, by service, status, and whether they are in etcd.", "service", "status", "registered")
	registrationsLost = desc("registrations_lost_total", "Times that registrations were lost, by reason: the lease ended, or the key was deleted or taken.", "reason")

	instances    = desc("instances", "Instances in a list, by service and status; expired are those that vanished together and are kept.", "service", "status")
	viewStale    = desc("view_stale_seconds", "For how long a list may have missed changes, by service; 0 while it is fresh.", "service")
	viewBad      = desc("view_bad_values", "Keys whose values are not instances, by service.", "service")
	viewPicks    = desc("view_picks_total", "Instances picked, by service.", "service")
	viewFailures = desc("view_failures_total", "Reported failures of instances, by service.", "service")
	viewRereads  = desc("view_rereads_total", "How often a list had to be read again, by service and reason.", "service", "reason")

	httpRequests = desc("http_requests_total", "Requests to services, by transport.", "transport")
	httpRetries  = desc("http_retries_total", "Requests that were sent again, to another instance, by transport.", "transport")

	locksHeld    = desc("locks_held", "Holds of this process, by lock.", "lock")
	locksWaiting = desc("locks_waiting", "Calls that wait for a lock, by lock.", "lock")
	lockWait     = desc("lock_wait_seconds", "How long calls that got the lock waited, by lock.", "lock")
	lockHold     = desc("lock_hold_seconds", "How long holds that have ended lasted, by lock.", "lock")
	lockRefused  = desc("lock_tries_refused_total", "Tries that did not get the lock, because it was taken, by lock.", "lock")
	locksLost    = desc("locks_lost_total", "Holds that were lost, by lock and reason: the lease expired, was revoked, could not be renewed (unreachable, unauthorised), the key was deleted, or the lock or its client was closed.", "lock", "reason")

	electionsLed      = desc("elections_led", "Whether this process leads, by election.", "election")
	electionsWaiting  = desc("elections_waiting", "Waiting candidates of this process, by election.", "election")
	electionWait      = desc("election_wait_seconds", "How long elected candidates waited, by election.", "election")
	electionTerm      = desc("election_term_seconds", "How long terms that have ended lasted, by election.", "election")
	electionTermsLost = desc("election_terms_lost_total", "Terms that were lost, by election and reason, as with locks.", "election", "reason")

	mirrorKeys         = desc("mirror_keys", "Keys in a mirror, by mirror.", "mirror")
	mirrorStale        = desc("mirror_stale_seconds", "For how long a mirror may have missed changes, by mirror; 0 while it is fresh.", "mirror")
	mirrorTransactions = desc("mirror_transactions_total", "Transactions of etcd that were applied, by mirror.", "mirror")
	mirrorEvents       = desc("mirror_events_total", "Events in those transactions, by mirror.", "mirror")
	mirrorWatches      = desc("mirror_watches_total", "Watches that were opened, by mirror: the first, and one for each that broke or was replaced.", "mirror")
	mirrorRereads      = desc("mirror_rereads_total", "How often the prefix had to be read again, by mirror and reason.", "mirror", "reason")
)

var descs = []*prometheus.Desc{
	leases, leaseRemaining, leaseKeys, leasesGranted, leasesEnded, keepAlives, keepRetries,
	registrations, registrationsLost,
	instances, viewStale, viewBad, viewPicks, viewFailures, viewRereads,
	httpRequests, httpRetries,
	locksHeld, locksWaiting, lockWait, lockHold, lockRefused, locksLost,
	electionsLed, electionsWaiting, electionWait, electionTerm, electionTermsLost,
	mirrorKeys, mirrorStale, mirrorTransactions, mirrorEvents, mirrorWatches, mirrorRereads,
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("etcdkit_"+name, help, labels, nil)
}

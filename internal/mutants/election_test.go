package mutants_test

var electionMutants = []mutant{
	{"the newest candidate is shown as the leader", "election/observe.go", []string{
		"kv.CreateRevision < l.Token {", "kv.CreateRevision > l.Token {",
	}, "election", "TestObserveYieldsEachLeaderAndVacancies"},
	{"Run ends when a term is lost", "election/election.go", []string{
		"		case !errors.Is(lost, ErrLost):", "		case errors.Is(lost, ErrLost):",
	}, "election", "TestRunCampaignsAgainAndNeverCallsTwiceAtOnce"},
	{"a leader proclaims without its lease", "internal/queue/hold.go", []string{
		"Then(clientv3.OpPut(h.entry.Key, value, clientv3.WithLease(h.entry.Lease.ID())))", "Then(clientv3.OpPut(h.entry.Key, value))",
	}, "election", "TestWhatIsProclaimedEndsWithTheLease"},
}

package mutants_test

var leaseMutants = []mutant{
	{"the deadline is counted from the answer", "lease/renew.go", []string{
		"	sent := r.keeper.clock()\n	ttl, err := s.keepAlive(r.id)\n", "	ttl, err := s.keepAlive(r.id)\n	sent := r.keeper.clock()\n",
	}, "lease", "TestTheDeadlineIsCountedFromSending"},
	{"an answer after the deadline brings the lease back", "lease/lease.go", []string{
		"	if l.err != nil || l.left() <= 0 {\n", "	if l.err != nil {\n",
		"		case l.left() > 0:\n			return nil\n		default:\n			l.expire()\n", "		default:\n			return nil\n",
	}, "lease", "TestAnAnswerAfterTheDeadlineDoesNotResurrect"},
	{"the clock stands still while the machine is suspended", "lease/clock_linux.go", []string{
		"unix.CLOCK_BOOTTIME, &ts", "unix.CLOCK_MONOTONIC, &ts",
	}, "lease", "TestTheClockIsTheOneThatRunsWhileTheMachineIsSuspended"},
	{"the lease's clock is the wall clock", "lease/clock_linux.go", []string{
		"unix.CLOCK_BOOTTIME, &ts", "unix.CLOCK_REALTIME, &ts",
	}, "lease", "TestTheClockIsTheOneThatRunsWhileTheMachineIsSuspended"},
	{"a closed client ends nothing", "lease/lease.go", []string{
		"		case l.keeper.etcd.Err() != nil:\n			l.endWithClient()\n", "",
		"		case <-l.keeper.etcd.Done():\n			l.endWithClient()\n			return\n", "",
	}, "lease", "TestAClosedClientEndsItsLeasesAtOnce"},
	{"what was never sent is revoked", "lease/grant.go", []string{
		"	case g.sent:\n", "	case g.tries > 0:\n",
	}, "lease", "TestWhatWasNeverSentIsNotRevoked"},
	{"a grant's patience scales with the TTL", "lease/grant.go", []string{
		"min(k.opts.TTL/9, grantPatience)", "k.opts.TTL / 9",
	}, "lease", "TestAGrantIsNotHeldUpByOneSilentFollower"},
	{"TryLease has no bound", "lease/keeper.go", []string{
		"context.WithTimeout(ctx, tryBound)", "context.WithCancel(ctx)",
	}, "lease", "TestWithoutSpaceTryLeaseIsBoundedAndSaysSo"},
	{"a TTL is not bounded", "lease/keeper.go", []string{
		"min(max(set.TTL, minTTL), maxTTL)", "max(set.TTL, minTTL)",
	}, "lease", "TestAnImpossibleTTLIsTheLongestPossible"},
	{"in an outage each handle tries for itself", "internal/ask/outage.go", []string{
		"		if over == nil {\n			if !waited {", "		if over == nil || true {\n			if !waited {",
	}, "internal/ask", "TestInAnOutageAllWaitAtTheGate"},
	{"a closed Keeper leaves its leases to expire", "lease/keeper.go", []string{
		"errs[i] = k.revoke(ctx, l.id)", "errs[i] = nil",
	}, "internal/matrix", "TestClosingTwiceIsClosingOnce"},
	{"a token that has expired is taken for a user who is refused", "lease/errors.go", []string{
		"return stale || ask.Unauthorised(err), stale", "return stale || ask.Unauthorised(err), stale && false",
	}, "internal/matrix", "TestTokensThatExpireAreRenewed"},
	{"an outage is told as it was known first", "internal/ask/outage.go", []string{
		"	if outage := c.Outage(); outage != nil {\n		return outage\n", "	if outage := c.Outage(); outage != nil {\n		return cause\n",
	}, "internal/ask", "TestTheCauseOfAnOutageIsNamedThoughItBecameKnownLater"},
	{"after an outage all come back at once", "internal/ask/outage.go", []string{
		"c.sleep(ctx, rand.N(spread))", "c.sleep(ctx, 0*rand.N(spread))",
	}, "internal/ask", "TestThoseThatWaitComeBackSpread"},
	{"what was explained before hides a refused certificate", "internal/ask/unanswered.go", []string{
		"errors.As(err, &explained) && !refused {", "errors.As(err, &explained) {",
	}, "internal/ask", "TestARefusedCertificateIsTheCauseOfWhatWasExplainedBefore"},
	{"in an outage gRPC makes connections beside the prober", "internal/ask/dialer.go", []string{
		"	if outage == nil {\n", "	if outage == nil || true {\n",
	}, "internal/ask", "TestInAnOutageOnlyTheProberConnects"},
	{"Close of a client waits for its watches for ever", "internal/ask/watcher.go", []string{
		"closeTimeout = time.Second", "closeTimeout = time.Hour",
	}, "internal/ask", "TestCloseOfAClientIsBoundedThoughAWatchDoesNotEnd"},
	{"each handle has a farewell bound of its own", "internal/ask/closing.go", []string{
		"		f.spent += time.Since(f.began)\n", "",
	}, "internal/ask", "TestClosingManyHandlesOneAfterAnotherTakesTwoSecondsTogether"},
	{"that members are there refills the bound of closing", "internal/ask/probe.go", []string{
		"no answer\n			o.answered.Store(int64(sinceStart()))\n", "no answer\n			c.Answered()\n",
	}, "internal/ask", "TestTheBoundOfClosingIsRefilledByAnswersOnly"},
	{"a spent bound of closing leaves no time for a try", "internal/ask/closing.go", []string{
		"left := max(f.left(), leastBudget-time.Since(began))", "left := f.left()",
	}, "internal/ask", "TestTheBoundOfClosingIsRefilledByAnswersOnly"},
	{"what fails after a refused certificate hides it", "internal/ask/unanswered.go", []string{
		"	if TimeIsUp(err) || refused {\n", "	if TimeIsUp(err) {\n",
	}, "internal/ask", "TestARefusedCertificateStaysTheCauseUntilSomethingAnswers"},
	{"a refused certificate stays the cause for ever", "internal/ask/outage.go", []string{
		"	if c.outage.refused.Load() {", "	if false {",
	}, "internal/ask", "TestARefusedCertificateStaysTheCauseUntilSomethingAnswers"},
}

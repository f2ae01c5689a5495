package mutants_test

var lockMutants = []mutant{
	{"an entry lingers though another one waits", "lock/local.go", []string{
		"	if m.kept.idle {\n		m.removeKept()\n	}\n}\n\n// removeKept removes", "	if m.kept.idle && !others {\n		m.removeKept()\n	}\n}\n\n// removeKept removes",
	}, "lock", "TestALingeringEntryIsRemovedWhenAnotherProcessWaits"},
	{"a call within Do stays within it for good", "lock/do.go", []string{
		"	if call == nil || call.returned.Load() || errors.Is(", "	if call == nil || errors.Is(",
	}, "lock", "TestALockIsNotNestedOnceDoHasEndedOrTheHoldWasReleased"},
	{"a list takes readers behind a writer for holders", "internal/queue/list.go", []string{
		"			e.Turn = !exclusive\n", "			e.Turn = true\n",
	}, "lock", "TestTheStateOfAnEntryIsWhetherItIsHeld"},
	{"a list ends with its first page", "internal/ask/pages.go", []string{
		"			more = resp.More && len(resp.Kvs) > 0\n", "			more = false\n",
	}, "lock", "TestListFindsTheLocksAmongAllKeys"},
	{"what others wrote is printed as it is", "lock/list.go", []string{
		"quote.Word(e.Command), e.PID, quote.Word(e.Host))", "e.Command, e.PID, e.Host)",
	}, "lock", "TestWhatOthersWroteIsPrintedSafelyAndShort"},
	{"the mark of a run is written before the run", "lock/every.go", []string{
		"	r.hold.run = r\n	return nil\n", "	_, err = r.hold.Txn(ctx).Then(r.ops()...).Commit()\n	return err\n",
	}, "lock", "TestARunThatIsKilledIsRepeatedByTheNextProcess"},
	{"a run that returned an error leaves a mark", "lock/every.go", []string{
		"	if r.err != nil {\n", "	if errors.Is(r.err, errPanicked) {\n",
	}, "lock", "TestARunThatReturnsAnErrorIsRepeated"},
	{"a mark is looked for without the lock only", "lock/every.go", []string{
		"mark, err = run.mark(ctx); mark != nil || err != nil {", "mark, err = run.mark(ctx); err != nil {",
	}, "lock", "TestOneRunAPeriodIsCompletedInTheFleet"},
	{"a period counts from the end of its run", "lock/every.go", []string{
		"		run.err = f(ctx, h)\n		return run.err\n", "		run.err = f(ctx, h)\n		_ = run.begin(ctx)\n		return run.err\n",
	}, "lock", "TestAPeriodCountsFromTheStartOfItsRun"},
}

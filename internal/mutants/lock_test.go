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
	{"a list ends with its first page", "internal/queue/list.go", []string{
		"			if !resp.More || len(resp.Kvs) == 0 {", "			if len(resp.Kvs) >= 0 {",
	}, "lock", "TestListFindsTheLocksAmongAllKeys"},
	{"what others wrote is printed as it is", "lock/list.go", []string{
		"quote.Word(e.Command), e.PID, quote.Word(e.Host))", "e.Command, e.PID, e.Host)",
	}, "lock", "TestWhatOthersWroteIsPrintedSafelyAndShort"},
}

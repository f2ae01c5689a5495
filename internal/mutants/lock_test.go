package mutants_test

var lockMutants = []mutant{
	{"an entry lingers though another one waits", "lock/local.go", []string{
		"	if m.kept.idle {\n		m.remove()\n	}\n}\n\n// remove takes", "	if m.kept.idle && !company {\n		m.remove()\n	}\n}\n\n// remove takes",
	}, "lock", "TestALingeringEntryIsGivenUpWhenSomebodyComes"},
	{"who was within Do is so for good", "lock/hold.go", []string{
		"	if in == nil || in.over.Load() || errors.Is(", "	if in == nil || errors.Is(",
	}, "lock", "TestALockIsNotNestedOnceDoHasEndedOrTheHoldWasReleased"},
	{"a list takes readers behind a writer for holders", "internal/queue/list.go", []string{
		"			e.Turn = !exclusive\n", "			e.Turn = true\n",
	}, "lock", "TestTheStateOfAnEntryIsWhetherItIsHeld"},
	{"a list ends with its first page", "internal/queue/list.go", []string{
		"			if !resp.More || len(resp.Kvs) == 0 {", "			if len(resp.Kvs) >= 0 {",
	}, "lock", "TestListFindsTheLocksAmongAllKeys"},
	{"what others wrote is printed as it is", "lock/list.go", []string{
		"quote.Word(e.Command), e.PID, quote.Word(e.Host))", "e.Command, e.PID, e.Host)",
	}, "lock", "TestWhatOthersWroteIsPrintedHarmlesslyAndShort"},
}

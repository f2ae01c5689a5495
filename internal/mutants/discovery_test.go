package mutants_test

var discoveryMutants = []mutant{
	{"any three that vanish are kept", "discovery/expired.go", []string{
		"	if recent > serving && (recent", "	if serving >= 0 && (recent",
	}, "discovery", "TestFewInstancesThatVanishAreNotKept"},
	{"any two that vanish within half a minute are kept", "discovery/expired.go", []string{
		"	fewest      = 3\n", "	fewest      = 2\n",
	}, "discovery", "TestTwoInstancesThatCrashOneAfterTheOtherAreNotKept"},
	{"a single instance that vanishes is kept", "discovery/expired.go", []string{
		"justNow >= fewest-1) {", "justNow >= 1) {",
	}, "discovery", "TestASingleInstanceThatDiesIsNotKept"},
	{"instances that said draining are kept", "discovery/expired.go", []string{
		"last.PID == 0 || !last.Status.Serving() {", "last.PID == 0 {",
	}, "discovery", "TestAnInstanceThatSaidDrainingLeavesImmediately"},
	{"instances that cannot say draining are kept", "discovery/expired.go", []string{
		"last.PID == 0 || !last.Status.Serving() {", "!last.Status.Serving() {",
	}, "discovery", "TestAnInstanceThatCannotSayDrainingIsNotKept"},
	{"an instance is kept although another one has its address", "discovery/expired.go", []string{
		"		case at[was.instance.Addr]: ", "		case at[was.instance.Addr] && id == \"\": ",
	}, "discovery", "TestAnInstanceWhoseAddressIsTakenIsNotKept"},
	{"OnlyServing is ignored", "discovery/pick.go", []string{
		"len(serving) == 0 && !o.OnlyServing {", "len(serving) == 0 {",
	}, "discovery", "TestWithOnlyServingPickReturnsNoneWhenAllAreInMaintenance"},
}

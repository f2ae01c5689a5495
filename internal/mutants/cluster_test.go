package mutants_test

var clusterMutants = []mutant{
	{"the gateway is on", "cluster/server.go", []string{
		"cfg.EnableGRPCGateway = s.Gateway", "cfg.EnableGRPCGateway = true",
	}, "cluster", "TestTheGatewayIsOffUnlessItIsAskedFor"},
	{"a temporary directory becomes part of an endpoint", "cluster/ready.go", []string{
		"Endpoints: []string{m.client.addr}, DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)}", `Endpoints: []string{"unix://" + m.spec.OwnSocket}, DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, addr) })}[:0]`,
	}, "cluster", "TestATemporaryDirectoryMayHaveAnyNameThatADirectoryCanHave"},
	{"a command's output is copied, and its end waited for", "cmd/etcdkit/internal/child/process.go", []string{
		"		return f.File()\n", "		_ = f\n", "	cmd.WaitDelay = drain\n", "",
	}, "cmd/etcdkit", "TestDevRunEndsWithItsCommandAndNotWithTheOutput"},
	{"a signal reaches the command alone", "cmd/etcdkit/internal/child/process.go", []string{
		"		procgroup.Own(cmd)\n", "		_ = procgroup.Own\n",
	}, "cmd/etcdkit", "TestASignalToDevRunReachesAllThatItsCommandHasStarted"},
	{"a second signal is as good as the first", "cmd/etcdkit/internal/child/child.go", []string{
		"			case asksToEnd(s) && stopping:\n				_ = p.Signal(os.Kill)\n", "			case asksToEnd(s) && stopping:\n				_ = p.Signal(s)\n",
	}, "cmd/etcdkit", "TestASecondSignalKillsTheCommandOfDevRun"},
	{"a ready file replaces whatever has its name", "cmd/etcdkit/internal/cli/files.go", []string{
		"err == nil && !info.Mode().IsRegular() {", "err == nil && info.Mode().IsDir() {",
	}, "cmd/etcdkit/internal/cli", "TestAReadyFileReplacesNoDeviceAndNoLink"},
	{"a ready file replaces what a link leads to", "cmd/etcdkit/internal/cli/files.go", []string{
		"	if info, err := os.Lstat(name); err", "	if info, err := os.Stat(name); err",
	}, "cmd/etcdkit/internal/cli", "TestAReadyFileReplacesNoDeviceAndNoLink"},
	{"a picture is drawn where a ready file could be only", "cmd/etcdkit/internal/cli/race.go", []string{
		"err := checkDirectory(\"--svg\", f.svg)", "err := checkReadyFile(f.svg)",
	}, "cmd/etcdkit", "TestARaceOnAClusterOfItsOwnPrintsItsResultAndNoControlCharacters"},
	{"a directory that another has removed is not made again", "cmd/etcdkit/internal/devctl/sockets.go", []string{
		"const listenTries = 100", "const listenTries = 1",
	}, "cmd/etcdkit/internal/devctl", "TestControlSocketsThatComeAndGoAtOnceDoNotDisturbOneAnother"},
	{"a cluster of its own is reached with the settings of another", "cmd/etcdkit/internal/place/place.go", []string{
		", Getenv: func(string) string { return \"\" }}", "}",
	}, "cmd/etcdkit", "TestAClusterOfItsOwnIsReachedWithNoSettingOfAnother"},
	{"a command gets half of another cluster's settings", "cmd/etcdkit/internal/place/environment.go", []string{
		"return append(withoutConnection(environ), ", "return append(environ, ",
	}, "cmd/etcdkit", "TestAClusterOfItsOwnIsReachedWithNoSettingOfAnother"},
	{"a fault meant for a cluster of the environment reaches the only one that answers", "cmd/etcdkit/internal/devctl/find.go", []string{
		"	if len(endpoints) > 0 {\n", "	if len(endpoints) > 0 && len(live) > 1 {\n",
	}, "cmd/etcdkit/internal/devctl", "TestEndpointsMeanTheirOwnDevClusterAndNoOther"},
	{"help of etcdctl needs a cluster", "cmd/etcdkit/upstream.go", []string{
		"	if !needsCluster(args) {\n", "	if !needsCluster(args) && false {\n",
	}, "cmd/etcdkit", "TestEtcdctlNamesTheDevClustersIfThereAreSeveral"},
	{"a leader that a failed lesson has killed stays down", "cmd/etcdkit/internal/tour/failover.go", []string{
		"	failed := f()\n", "	failed := f()\n	if failed != nil {\n		return failed\n	}\n",
	}, "cmd/etcdkit/internal/tour", "TestTheKilledLeaderIsStartedAgainAlsoWhenTheLessonFails"},
	{"a request to the control socket has no bound", "cmd/etcdkit/internal/devctl/server.go", []string{
		"json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequest)).Decode(&req)", "json.NewDecoder(r.Body).Decode(&req)",
	}, "cmd/etcdkit/internal/devctl", "TestTheControlSocketReadsNoMoreThanARequestNeeds"},
	{"etcdctl is told of variables that flags stand before", "cmd/etcdkit/upstream.go", []string{
		"		for _, variable := range shadowed(args) {", "		for _, variable := range shadowed(nil) {",
	}, "cmd/etcdkit", "TestEtcdctlIsToldOfNoVariableThatAFlagStandsBefore"},
	{"a link in a data directory is followed", "cluster/datadir.go", []string{
		"	if err := rejectSymlinks(path); err != nil {\n		return nil, err\n	}\n", "",
	}, "cluster", "TestADirectoryWithLinksInItIsRefusedAndTheirTargetsAreLeftAlone"},
	{"a record of too many members is believed", "cluster/datadir.go", []string{
		"n := len(r.Members); n > maxMembers {", "n := len(r.Members); n > 1000 {",
	}, "cluster", "TestARecordOfTooManyMembersIsRefused"},
	{"cluster.json gets its name before it is on the disk", "internal/wholefile/wholefile.go", []string{
		"write(name, b, true)", "write(name, b, false)",
	}, "cluster", "TestTheRecordOfKeptDataIsOnTheDiskBeforeItCounts"},
	{"an emptied cluster.json is damaged", "cluster/datadir.go", []string{
		`len(bytes.Trim(b, "\x00\n ")) == 0`, `len(bytes.Trim(b, "\x00\n ")) < 0`,
	}, "cluster", "TestAnEmptiedRecordIsRepaired"},
}

# CI (.ci/run) calls these targets; nothing is written down twice.
GO ?= go

.PHONY: help
help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tour
tour: ## a three-member cluster, the six examples, a failover and a shop under faults, checked
	$(GO) run ./cmd/etcdkit tour --shop

.PHONY: test
test: ## all tests, as the README says it
	$(GO) test ./...

.PHONY: race
race: ## all tests under the race detector, but those of examples/, which start programs built without it
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v -e '/examples$$' -e '/internal/matrix$$')
	$(GO) test -race -timeout 20m ./internal/matrix # by itself: hundreds of handles, with leases of 5 s

.PHONY: long
long: ## the tests that take their time: long TTLs and outages, a slow network, large backlogs, 1,000 rounds, a minute of faults
	$(GO) test -count=1 -tags long -v -run 'Slow|Sleeping|TermsIncrease|CatchesUp' ./mirror ./election
	$(GO) test -count=1 -tags long -v -run 'StoodStill|DeadHolder|Killed' ./lock
	$(GO) test -count=1 -tags long -v -run 'LongOutage|HalfAMinute' ./registry
	$(GO) test -count=1 -tags long -v -run 'AgainAndAgain|TTL60s' ./internal/matrix
	$(GO) test -count=1 -tags long -v -run WhatIsGuarded ./internal/safety
	$(GO) test -count=1 -tags long -v -run 200Trials ./cmd/etcdkit
	$(GO) test -count=1 -tags long -v -run 'Million|StandsStill' ./keys

.PHONY: crowds
crowds: ## thousands of handles, and what they cost others: some ten minutes of a quiet machine, not part of CI
	$(GO) test -count=1 -tags long -v -timeout 20m -run Idle ./internal/matrix
	$(GO) test -count=1 -tags long -v -timeout 20m -run Thousand ./lock
	$(GO) test -count=1 -tags long -v -timeout 20m -run AnyNumber ./registry
	$(GO) test -run '^$$' -bench WithIdle -benchtime 1x ./internal/matrix

.PHONY: mutants
mutants: ## the guarantees broken one by one, and each found out by its test
	$(GO) test -count=1 -tags long -v -parallel 4 -timeout 45m ./internal/mutants

.PHONY: lint
lint: ## gofmt, go vet, staticcheck (pinned in tools/go.mod)
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags etcdkit_client ./cluster ./cmd/etcdkit/...
	$(GO) vet -tags long ./mirror ./election ./lock ./registry ./keys ./internal/safety ./internal/matrix ./internal/mutants ./cmd/etcdkit
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

.PHONY: bench
bench: ## the benchmarks beside the code
	$(GO) test -run '^$$' -bench . ./...

.PHONY: client
client: ## bin/etcdkit without etcd's server and etcdctl: two thirds of the size, and starts faster
	$(GO) build -tags etcdkit_client -o bin/etcdkit ./cmd/etcdkit

.PHONY: peers
peers: ## checks of bench/, the module that measures etcdkit beside its peers
	$(GO) -C bench vet ./...
	$(GO) -C bench test ./...

.PHONY: databases
databases: ## lock/fence with SQLite and PostgreSQL, from a module of its own
	$(GO) -C lock/fence/databases vet ./...
	$(GO) -C lock/fence/databases tool -modfile=../../../tools/go.mod staticcheck ./...
	$(GO) -C lock/fence/databases test ./...

.PHONY: build
build: ## bin/etcdkit, and links that make it etcd and etcdctl
	$(GO) build -o bin/etcdkit ./cmd/etcdkit
	ln -sf etcdkit bin/etcd
	ln -sf etcdkit bin/etcdctl

.PHONY: install
install: ## etcdkit on your PATH: into $GOBIN, or else the bin folder of GOPATH
	$(GO) install ./cmd/etcdkit

.PHONY: procfile
procfile: build ## the three members under a Procfile runner, checked with etcdctl
	.ci/procfile

.PHONY: clean
clean: ## bin/
	rm -rf bin

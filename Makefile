# Holdfast. `make help` lists the targets.

SHELL    := /bin/bash
GO       ?= go
DATA     ?= data
S3       ?= $(or $(HOLDFAST_S3_ADDRESS),127.0.0.1:9000)
FUZZTIME ?= 10s
BIN      := bin/holdfast
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)

# Packages whose tests are quick enough for the race detector on two cores.
RACE := ./engine/group/... ./access/... ./observe/... ./gateways/... ./daemon/... ./cli/... ./engine/buffer/... ./engine/memory/... ./filetree/... ./engine/drive/...

.PHONY: help build run test test-mc rclone-test s3tests unit race lint bench bench-keys microbench journal loss soak powerloss planted fuzz packages-free clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/holdfast
	$(GO) build -trimpath -ldflags "-s -w -X holdfast/daemon/config.Version=$(VERSION)" -o $(BIN) ./cli/holdfast

run: build ## start a single node for this machine with four drive folders below ./data; DATA=dir puts them elsewhere, S3=:9000 listens on all interfaces
	@mkdir -p $(DATA)/d1 $(DATA)/d2 $(DATA)/d3 $(DATA)/d4
	@exec $(BIN) server --log-level warn --s3-address $(S3) --state $(DATA)/state '$(DATA)/d{1...4}'

test: prepare lint unit race ## install what the tests need, then check and test everything

.PHONY: prepare
prepare:
	@scripts/prepare-tests.sh

unit: ## the tests, without the race detector
	$(GO) test -timeout 14m $$($(GO) list ./... | grep -v '/tests/')
	$(GO) test -count=1 -timeout 30m ./tests/sim $$($(GO) list ./tests/... | grep -v '/tests/sim$$') # the longest first; they run the binary, which the test cache does not see

race: ## the tests under the race detector, where that is quick
	$(GO) test -race -short -timeout 14m $$($(GO) list -e -f '{{if or .GoFiles .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' $(RACE))
	$(GO) test -race -short -timeout 14m -run TestHistories ./tests/sim

lint: ## gofmt, vet, staticcheck, the import order
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt: run gofmt -w on"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./tests/layers

bench: build ## measure the binary, and other servers whose binaries the folder PEERS has, in alternation; BENCH='-out docs/benchmarks.md' keeps the tables
	$(GO) run ./tests/bench -binary $(BIN) $(if $(PEERS),-peers '$(PEERS)') $(BENCH)

KEYS ?= 1000000
bench-keys: build ## measure what KEYS keys in one bucket cost, and other servers as bench does; BENCH='-out docs/benchmarks.md' keeps the tables
	$(GO) run ./tests/bench -binary $(BIN) $(if $(PEERS),-peers '$(PEERS)') -keys $(KEYS) $(BENCH)

microbench: ## the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

test-mc: build ## test with the mc binary that MC names
	HOLDFAST_TEST_BINARY=$(CURDIR)/$(BIN) HOLDFAST_TEST_MC=$(MC) $(GO) test -count=1 -v -run MC ./tests/clients

rclone-test: build ## run rclone's own tests of its back end for S3; RCLONE names a copy of its source
	@[ -n "$(RCLONE)" ] || { echo "rclone-test: name a copy of rclone: make rclone-test RCLONE=folder"; exit 2; }
	HOLDFAST_TEST_BINARY=$(CURDIR)/$(BIN) HOLDFAST_TEST_RCLONE=$(abspath $(RCLONE)) $(GO) test -count=1 -timeout 40m -v -run TestBackend ./tests/rclone

s3tests: build ## run ceph's s3-tests, of which S3TESTS names a copy, and compare with tests/s3tests/expected.txt; S3TESTS_ONLY='list or copy' runs some
	@[ -n "$(S3TESTS)" ] || { echo "s3tests: name a copy of ceph's s3-tests: make s3tests S3TESTS=folder"; exit 2; }
	HOLDFAST_TEST_BINARY=$(CURDIR)/$(BIN) HOLDFAST_TEST_S3TESTS=$(abspath $(S3TESTS)) HOLDFAST_TEST_S3TESTS_ONLY='$(S3TESTS_ONLY)' HOLDFAST_TEST_S3TESTS_UPDATE=$(S3TESTS_UPDATE) \
	  HOLDFAST_TEST_S3TESTS_PYTHON=$(S3TESTS_PYTHON) $(GO) test -count=1 -timeout 60m -v -run TestSuite ./tests/s3tests

JOURNAL_ACKS ?= 100000
journal: ## kill -9 the daemon under clients that keep a journal, until JOURNAL_ACKS writes were acknowledged
	HOLDFAST_JOURNAL_ACKS=$(JOURNAL_ACKS) $(GO) test -count=1 -timeout 3h -v ./tests/journal

POWERLOSSES ?= 200
powerloss: ## cut the power of the daemon's machine under clients that keep a journal, POWERLOSSES times (200); needs root and /dev/fuse
	HOLDFAST_TEST_POWERLOSSES=$(POWERLOSSES) $(GO) test -count=1 -timeout 2h -v ./tests/powerloss/...

loss: ## back up 10 GB (Go's toolchain, its modules, a 4 GiB file) under kills, lose every drive, restore; needs about 45 GB
	HOLDFAST_LOSS_TREE=$${LOSS_TREE:-$$($(GO) env GOROOT):$$($(GO) env GOMODCACHE):$$($(GO) env GOMODCACHE)/cache} HOLDFAST_LOSS_MB=$${LOSS_MB:-10240} HOLDFAST_LOSS_BIG=$${LOSS_BIG:-4096} \
	  HOLDFAST_LOSS_APART=1 HOLDFAST_LOSS_KILL=20 $(GO) test -count=1 -timeout 4h -v ./tests/loss

soak: ## cut the power and fail drives of simulated machines with new seeds, without end or for SOAK=1h, until something is lost
	HOLDFAST_SIM_SOAK=$(or $(SOAK),forever) $(GO) test -count=1 -timeout 0 -v -run TestSoak ./tests/sim

planted: ## plant bugs into copies of the tree; the unchanged test that is named for each must find it
	$(GO) test -count=1 -tags planted -timeout 60m -v ./tests/planted

fuzz: ## every fuzz test, each for FUZZTIME (10s)
	@GO=$(GO) FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

packages-free: build ## check that each module in the binary has a licence that we may ship
	@GO=$(GO) scripts/packages-free.sh $(BIN)

clean: ## remove what was built; ./data stays
	rm -rf bin

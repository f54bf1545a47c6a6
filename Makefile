# Four words for everything: run, test, bench, lint. `make help` tells the rest.

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS = -s -w -X holdfast/daemon/config.Version=$(VERSION)
DATA ?= ./data

.PHONY: help build run test test-deps lint race fuzz bench journal clean

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

build: ## build bin/holdfast
	$(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/holdfast ./cli/holdfast

run: build ## build and run a node with four drive folders under ./data
	@mkdir -p $(DATA)/state $(DATA)/drive1 $(DATA)/drive2 $(DATA)/drive3 $(DATA)/drive4
	@exec ./bin/holdfast server --state $(DATA)/state --log-level warn '$(DATA)/drive{1...4}'

test: test-deps lint ## install what the tests need, and run all of them
	$(GO) test -timeout 20m ./...
	$(MAKE) race

test-deps:
	@sh scripts/test-deps.sh

race: ## run the race detector where it is quick
	$(GO) test -race -timeout 10m ./engine/meta ./engine/quorum ./engine/buffer ./engine/coordinator ./access/... ./daemon/...

lint: ## gofmt, vet, staticcheck; the order of imports is a test
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "not formatted: $$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./tests/layers

FUZZTIME ?= 30s
fuzz: ## fuzz every decoder for FUZZTIME each
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

JOURNAL_ACKS ?= 100000
journal: ## kill -9 the daemon under clients that keep a journal until JOURNAL_ACKS were acknowledged
	HOLDFAST_JOURNAL_ACKS=$(JOURNAL_ACKS) $(GO) test -count=1 -timeout 3h -v -run TestJournal ./tests/journal

PEERS ?=
bench: build ## measure against the peers whose binaries PEERS holds, and print rows for docs/benchmarks.md
	$(GO) run ./tests/bench -holdfast bin/holdfast -peers "$(PEERS)"

clean: ## remove what build and run made
	rm -rf bin $(DATA)

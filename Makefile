# Cairn: `make` lists what can be done. GNU make; every target runs the pinned Node of node_modules.
NODE = $(CURDIR)/node_modules/.bin/node
PATH := $(CURDIR)/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)
export PATH

.DEFAULT_GOAL := help
.PHONY: help setup services ready build demo test test-long bench check format licences clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## check this machine, name all that is missing, install the npm packages
	@sh scripts/setup.sh

services: ## install the servers that tests start: Postgres, etcd (Debian; elsewhere it names them)
	@sh scripts/services.sh

# Every target that works needs a machine that is ready; says nothing when it is.
ready:
	@sh scripts/setup.sh --quiet

build: ready ## build the native parts: engine, reduced engine (tests), script checks
	@sh scripts/build-native.sh

demo: build ## a five-node wallet on this machine: keys, deposit, payment, confirmation (ONCE=1: end afterwards; STORAGE=postgres COORDINATION=etcd)
	@$(if $(STORAGE)$(COORDINATION),sh scripts/services.sh --quiet)
	@$(NODE) packages/devnet/src/main.ts demo $(if $(ONCE),--once) $(if $(STORAGE),--storage $(STORAGE)) $(if $(COORDINATION),--coordination $(COORDINATION))

test: build ## the fast tests (minutes)
	@sh scripts/services.sh --quiet
	@$(NODE) scripts/run-tests.ts

test-long: build ## the long tests, resumable (SHARD=name for one of them, FRESH=1 to start over)
	@sh scripts/services.sh --quiet
	@$(NODE) scripts/run-tests.ts --long $(if $(SHARD),--shard $(SHARD)) $(if $(FRESH),--fresh)

bench: build ## measure: ratios to bench.json, a table here (QUICK=1 for a short run, ONLY=idle for a section)
	@sh scripts/services.sh --quiet
	@$(NODE) bench/main.ts

check: ready ## format, lint, types, layers, licences, advisories, docs
	@$(NODE) scripts/check.ts

format: ready ## rewrite sources to the house format
	@$(NODE) node_modules/@biomejs/biome/bin/biome check --write
	@cd native && cargo fmt --all

licences: ready ## write THIRD_PARTY.md from the lock files
	@$(NODE) scripts/check-licences.ts --write

clean: ## remove what builds and tests left behind (npm packages stay)
	@rm -rf native/target native/target-reduced native/*/*.node .cache

# make help lists the goals. Each is idempotent, prints what it installs, and fails with the mend.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build release run demo test lint doc bench clean-run sweep
MAKEFLAGS += --no-print-directory

# One set of features for every goal, so that run, demo and test share one build. The debug
# profile: a first build takes a third of the release one's time, and a node agent waits for the
# kernel, not for itself.
FEATURES := --features testing
export RUST_BACKTRACE ?= 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## installs what is missing (Debian, Ubuntu), and says what
	@tools/setup.sh test

build: ## target/debug/riklet and the example scheduler
	@tools/setup.sh run
	cargo build --locked $(FEATURES) --bin riklet --example scheduler

release: ## target/release/riklet, to install
	@tools/setup.sh run
	cargo build --locked --release --bin riklet

run: build ## scheduler and daemon on this checkout, a workload to look at; Ctrl-C stops
	@tools/run.sh

demo: build ## the whole story in under a minute: crash, adopt, restart, rebuild, destroy
	@tools/demo.sh

lint: ## format, clippy, dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets $(FEATURES) -- -D warnings
	@tools/deny.sh

doc: ## target/doc/riklet/index.html; a broken link is an error
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --document-private-items $(FEATURES)

test: ## everything that CI checks: set-up, lint, docs, and every test, on real containers
	@tools/setup.sh test
	@MAKE_GOAL=test tools/preflight.sh
	@tools/sweep.sh
	@$(MAKE) lint doc
	cargo test --locked $(FEATURES)
	@echo "make test: all passed"

bench: ## start times, beside plain runc
	@tools/setup.sh run
	@MAKE_GOAL=bench tools/preflight.sh
	cargo bench --locked $(FEATURES)

clean-run: ## ends the containers of make run and forgets its state
	@tools/clean-run.sh

sweep: ## removes what killed test runs left, by evidence
	@tools/sweep.sh

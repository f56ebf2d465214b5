# make help lists the goals. Each is idempotent, prints what it installs, and fails with the mend.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build release run demo test prove mutants replay lint doc bench clean-run sweep
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
	@tools/stage.sh format cargo fmt --check
	@tools/stage.sh clippy cargo clippy --locked --all-targets $(FEATURES) -- -D warnings
	@tools/stage.sh dependencies tools/deny.sh

doc: ## target/doc/riklet/index.html; a broken link is an error
	@RUSTDOCFLAGS="-D warnings" tools/stage.sh documentation \
		cargo doc --locked --no-deps --lib $(FEATURES)

# By cargo-nextest where it is installed, else by cargo test; both have to pass. nextest is the
# better one here, for it gives each test a process of its own: a daemon's child subreaper, its
# reaper and its signal mask belong to a process, so under cargo test the tests of one program
# share them, and one that hangs takes the others with it. (.config/nextest.toml bounds each test,
# and lets those that load the machine run one by one.) TEST_RUNNER=cargo asks for cargo test.
test: ## everything that CI checks: set-up, lint, docs, and every test, on real containers
	@FEATURES="$(FEATURES)" tools/test.sh

prove: ## the long form of every proof, well over an hour; writes docs/reliability.md from the runs
	@MAKE_GOAL=prove tools/prove.sh

mutants: ## breaks the code once for each promise, and shows which test sees it
	@tools/mutants.sh

replay: ## SEED=n: the whole story of one random walk of tests/simulation.rs
	@RIKLET_SEED=$(SEED) cargo test --quiet $(FEATURES) --test simulation replayed_story -- --nocapture

bench: ## starts, restarts, memory and idle cost of a release build, beside a bare loop of runc
	@tools/setup.sh run
	@MAKE_GOAL=bench tools/preflight.sh
	cargo bench --locked $(FEATURES) --bench start --bench restart --bench footprint

clean-run: ## ends the containers of make run and forgets its state
	@tools/clean-run.sh

sweep: ## removes what killed test runs left, by evidence
	@tools/sweep.sh

# Everything a contributor does. `make help` lists it.

CARGO   ?= cargo
TARGET  := $(or $(CARGO_TARGET_DIR),target)
MESH    ?= examples/bookshop

# One profile for all tests, so that the proxy under test is built once and dependencies are compiled once for clippy and tests alike.
CHECKED := --profile checked --locked

.DEFAULT_GOAL := help
.PHONY: help run build test lint tools fmt-check clippy binaries suite corpus deny fields budgets instructions times history bench bench-load race compared yardsticks clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build and run the example mesh (MESH=folder-or-file for another)
	@echo "Starting: ringway run $(MESH)   (Ctrl-C ends it)"
	@exec $(TARGET)/fast/ringway run $(MESH)

build: tools ## Build the proxy and the command, optimised
	@echo "Building dataplane (the proxy) and ringway (the command): release without LTO, into $(TARGET)/fast."
	@echo "The first time this compiles every dependency: a minute or two on two cores; afterwards seconds."
	@$(CARGO) build --locked --profile fast -p dataplane -p control-shim --bin dataplane --bin ringway

test: tools fmt-check clippy binaries suite deny ## Everything that must pass: format, lints, all tests, dependency policy

lint: tools fmt-check clippy deny ## Format, lints and dependency policy alone

tools:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs (rust-toolchain.toml names the version)"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: it links the binaries. Debian: apt-get install gcc libc6-dev"; exit 1; }

fmt-check:
	@echo "Checking the format."
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; \
	  else echo "SKIPPED: format: rustfmt is missing (rustup component add rustfmt)"; fi

clippy:
	@echo "Linting."
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy $(CHECKED) --workspace --all-targets --quiet -- -D warnings; \
	  else echo "SKIPPED: lints: clippy is missing (rustup component add clippy)"; fi

binaries:
	@echo "Building the binaries under test into $(TARGET)/checked."
	@$(CARGO) build $(CHECKED) --quiet --workspace --bins

# The committed fuzz corpora and the simulation's seeds are part of the crates' own tests.
suite: binaries
	@echo "Testing."
	@command -v python3 >/dev/null || echo "python3 is missing: the tests that read the config format with it are skipped. Debian: apt-get install python3"
	@RINGWAY_BIN_DIR="$$(realpath $(TARGET)/checked)" $(CARGO) test $(CHECKED) --workspace --no-fail-fast
	@echo "Testing that the simulation finds planted bugs, and counting instructions planted cost."
	@$(CARGO) test $(CHECKED) -p ringway-sim -p ringway-paths --features ringway-sim/planted-bugs,ringway-paths/planted-cost --test planted

# `make test` runs a share of it. RINGWAY_CORPUS_SEED=n runs the one mesh that a failure names.
corpus: binaries ## The whole generated corpus: 100,000 requests, against the evaluator and beside Envoy (CASES=n for another number)
	@echo "Running the generated corpus."
	@RINGWAY_BIN_DIR="$$(realpath $(TARGET)/checked)" RINGWAY_CORPUS_CASES="$(or $(CASES),100000)" \
	  $(CARGO) test $(CHECKED) -p ringway-corpus --no-fail-fast

# Licences, bans and sources are also a test of the suite (tests/tests/dependencies.rs), which needs no tool; advisories need cargo-deny and its database.
deny:
	@echo "Checking dependencies."
	@if ! command -v cargo-deny >/dev/null; then echo "SKIPPED: cargo deny: not installed (cargo install --locked cargo-deny)"; \
	  else cargo-deny --log-level error check licenses bans sources && \
	    { if cargo-deny fetch db >/dev/null 2>&1; then cargo-deny --log-level error check advisories; \
	      else echo "SKIPPED: advisories: the advisory database cannot be reached"; fi; }; fi

fields: ## Write the list of every field in docs/support.md from the decoders
	@RINGWAY_WRITE_FIELDS=1 $(CARGO) test $(CHECKED) --quiet -p control-shim --test support the_list

# Wants a quiet machine. What these figures are is told in docs/performance.md.
budgets: ## What decisions and translations cost, against their budgets (ONLY=decisions, translation, snapshot or views for a part)
	@$(CARGO) run --locked --quiet --profile fast -p ringway-budgets -- $(ONLY)

# Needs valgrind, and no quiet machine. `perf/instructions OLD` compares with another revision instead.
instructions: ## Instructions of the hot paths beside perf/instructions.jsonl; fails above 2 % more (ONLY=decide for a part, ALLOW=5, ACCEPT=1 to accept)
	@$(CARGO) run --locked --quiet --release -p ringway-paths --bin instructions -- "$(ONLY)" --baseline perf/instructions.jsonl \
	  --allow $(or $(ALLOW),2) $(if $(ACCEPT),--accept)

times: ## Times of the same paths, for a quiet machine (ONLY=decide for a part)
	@$(CARGO) run --locked --quiet --release -p ringway-paths --bin times -- "$(ONLY)"

# One line a revision in perf/history.jsonl, to be committed. The instruction counts alone (ONLY=instructions) need no quiet machine.
history: ## Measure this revision, add it to perf/history.jsonl, and draw the page of all
	@git diff --quiet HEAD -- . ':!perf/history.jsonl' || { echo "commit first: figures belong to a revision"; exit 2; }
	@mkdir -p $(TARGET)
	@perf/figures $(ONLY) > $(TARGET)/figures.jsonl
	@$(CARGO) build --locked --quiet --profile fast -p ringway-history
	@$(TARGET)/fast/history append perf/history.jsonl "$$(git rev-parse --short HEAD)" "$$(git show -s --format=%cs HEAD)" < $(TARGET)/figures.jsonl
	@$(TARGET)/fast/history page perf/history.jsonl $(TARGET)/history.html

bench: compared ## CPU per request beside nginx, HAProxy, Envoy and bare forwarders (needs a quiet machine with two cores; ARGS='--rounds 9')
	@$(TARGET)/release/ringway-load compare --yardsticks $(TARGET)/yardsticks/release $(ARGS)

race: compared ## Every workload of the race with its bars and verdicts, many hours (ARGS='--rounds 5 -d 2s --rest 10s' for a short form)
	@$(TARGET)/release/ringway-load compare --race --yardsticks $(TARGET)/yardsticks/release $(ARGS)

# Budgets and figures of the generator itself, docs/load.md. Two minutes and a half.
bench-load: ## What ringway-load itself costs and how true its times are, beside wrk (needs a quiet machine with two cores; ARGS='--rounds 3')
	@$(CARGO) build --locked --release -p ringway-load --bin ringway-load -p ringway-generator --bin generator
	@$(TARGET)/release/generator --load $(TARGET)/release/ringway-load $(ARGS)

compared:
	@$(CARGO) build --locked --release -p dataplane --bin dataplane -p ringway-load --bin ringway-load
	@$(CARGO) build --locked --release --manifest-path bench/yardsticks/Cargo.toml --target-dir $(TARGET)/yardsticks

yardsticks: ## Test the forwarders of bench/yardsticks (a workspace of their own, not part of `make test`)
	@$(CARGO) test --locked --manifest-path bench/yardsticks/Cargo.toml --target-dir $(TARGET)/yardsticks

clean: ## Remove what was built
	@$(CARGO) clean

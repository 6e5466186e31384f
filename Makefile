# Two commands do everything on a fresh machine: `make demo` and `make test`. Both may be run again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

EXEUNT := target/debug/exeunt
# Paths here and in scripts/ begin with it, whatever the user's own settings of cargo say.
export CARGO_TARGET_DIR := $(CURDIR)/target

.PHONY: help demo test build plugins guests format lint witness postgres registry nextest release bench fuzz

help:
	@echo "make demo      builds everything and shows a leaver's account being closed and proved closed"
	@echo "make test      formatting, clippy, every test and the demonstration: all that CI runs"
	@echo "make release   exeunt for production, optimised by what a run of it did; takes half an hour"
	@echo "make bench     benchmarks, each against a baseline measured in the same run"
	@echo "make fuzz      ten minutes for each fuzz target; needs a nightly compiler"

demo: build plugins
	$(EXEUNT) demo --once

test: lint plugins guests witness postgres registry nextest
	cargo nextest run --workspace --no-fail-fast
	$(EXEUNT) demo --once

build:
	cargo build --workspace --bins

format:
	cargo fmt --all --check

lint: format
	cargo clippy --workspace --all-targets -- -D warnings

# Guests are core modules first; the host's own encoder makes components of them.
plugins: build
	scripts/build-plugin.sh plugin-docusign docusign
	scripts/build-plugin.sh plugin-hostile hostile
	scripts/build-plugin.sh plugin-scim scim
	@for core in target/plugins/core/*.wasm; do \
	    component=target/plugins/$$(basename $$core); \
	    if [ ! -e $$component ] || [ $$core -nt $$component ]; then $(EXEUNT) plugin build $$core -o $$component; fi; \
	done

# The same connector in JavaScript and Python, and a SCIM server to try all three on.
guests:
	tests/plugins/scim/build.sh

# DocuSign's own client, as an outside witness of the simulator.
witness:
	tests/docusign-sim/witness/setup.sh

# The database of the journal's and the service's suites; each starts a private server from its programs.
postgres:
	scripts/debian-package.sh postgresql '/usr/lib/postgresql/*/bin/initdb'

# The registry of the suite that pulls plugins.
registry:
	scripts/debian-package.sh docker-registry /usr/bin/docker-registry

# This version builds with the oldest Rust that we support.
nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version 0.9.143

release: plugins
	scripts/release.sh

# With the release profile: what a build with debug assertions takes says little about one without.
bench: plugins guests
	cargo build --release --workspace --bins
	target/release/bench

# Builds everything once more, for itself and with a nightly compiler: `rustup toolchain install nightly` where there is
# none.
fuzz: plugins
	scripts/fuzz.sh 600

# Everything that is done with this project. `make` alone shows the list.

CARGO ?= cargo
CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/arioso
TOOLS ?= $(CACHE)/tools
FUZZ_SECONDS ?= 15
FUZZ_TARGETS := $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))

export PATH := $(TOOLS)/bin:$(PATH)
# One profile for all, so that dependencies are built once.
ARIOSO := target/debug/arioso

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test unit lint format core proto deny fuzz models build docs system tools clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: system build models ## A real call with nothing else to set up: Asterisk, engines, a caller, the conversation
	$(ARIOSO) demo

test: system tools lint core proto deny models fuzz unit ## Everything that is run for every change

unit: models ## The tests: units, scenarios, properties, snapshots, a real Asterisk
	$(CARGO) test

lint: ## Format and lints; a warning is an error
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --all-targets -- -D warnings

format: ## Format the sources
	$(CARGO) fmt
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

core: ## The core alone, and with the text formats: no socket, no clock, no async runtime
	$(CARGO) check --lib --no-default-features
	$(CARGO) check --lib --no-default-features --features parsers

proto: tools ## The contract with the engines
	buf lint proto

deny: tools ## Licences, bans and sources of the dependencies
	$(CARGO) deny --log-level error check bans licenses sources

# Finds go to target/, the seeds in fuzz/corpus stay as they are. Without a sanitizer a stable toolchain will do.
fuzz: tools ## Build the fuzz targets and run each for FUZZ_SECONDS
	$(CARGO) fuzz build -s none
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p target/fuzz-corpus/$$target || exit 1; \
	    echo "fuzz $$target for $(FUZZ_SECONDS) s"; \
	    $(CARGO) fuzz run -s none $$target target/fuzz-corpus/$$target fuzz/corpus/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

models: build ## Fetch the local models into the cache
	$(ARIOSO) models fetch

build: ## Build the program
	$(CARGO) build

docs: ## The documentation of the code, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

system: ## Install what a bare Debian lacks: compilers, Python, debootstrap
	@.ci/install system

tools: ## Install cargo-deny, cargo-fuzz and buf into the cache
	@.ci/install tools $(TOOLS)

clean: ## Remove what was built; the cache stays
	$(CARGO) clean
	rm -rf fuzz/target fuzz/artifacts

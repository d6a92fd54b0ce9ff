# What one does here; `make` alone lists it. Nothing needs a JVM but `peers`, `test`, `bench` and `soak`.

CARGO ?= cargo

.PHONY: help build quickstart test unit integration lint fmt peers bench bench-zk bench-broker soak fuzz codegen

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST)

build: ## the release binaries: zk-server, broker, tandem
	$(CARGO) build --release

quickstart: ## build and start both servers, send and read messages, leave them running until Ctrl-C
	@./bin/quickstart.sh

test: ## everything: unit tests, then our servers against Apache's (fetches those; under 30 minutes from nothing)
	@./integration-tests/run.sh build peers unit tidy tutorial zookeeper broker mixed crash

unit: ## the tests beside the code only
	@./integration-tests/run.sh unit tidy

integration: ## the tests that run servers only
	@./integration-tests/run.sh build peers tutorial zookeeper broker mixed crash

lint: ## formatting and clippy; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@# Only fuzzing itself needs libFuzzer: any file will do in its place here.
	CUSTOM_LIBFUZZER_PATH=$(CURDIR)/fuzz/Cargo.toml $(CARGO) check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

fmt: ## format the code
	$(CARGO) fmt --all

peers: ## fetch what the tests compare with: the Apache servers, Python clients, kcat
	@./integration-tests/peers/install.sh

bench: build peers ## Apache's servers and ours side by side on this machine; prints ratios
	$(CARGO) run --release -p integration-tests --bin side_by_side

bench-zk: build peers ## the ZooKeeper servers alone, operation by operation; TANDEM_BENCH_SHORT=1 for a quick look
	$(CARGO) run --release -p integration-tests --bin bench_zk

bench-broker: build peers ## the brokers alone: produce, fetch, latency, start, recovery, memory; TANDEM_BENCH_SHORT=1 for a quick look
	$(CARGO) run --release -p integration-tests --bin bench_broker

soak: build peers ## many crash rounds and long random tests (TANDEM_SOAK_ROUNDS, TANDEM_SEED)
	@./integration-tests/run.sh soak

fuzz: ## every fuzz target for TANDEM_FUZZ_SECONDS (60) each; needs cargo-fuzz and a nightly compiler
	@./fuzz/run.sh

codegen: ## write kafka-wire/src/messages again from the message definitions in the Kafka jars
	@$(MAKE) -s peers
	$(CARGO) run -p kafka-wire-codegen

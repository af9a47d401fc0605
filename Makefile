# urun: the targets of everyday work. `make` alone, or `make help`, lists them.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr/local
TARGET  := x86_64-unknown-linux-gnu
BINARY  := target/release/urun
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
MANUALS := $(wildcard docs/man/*.8)

.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the static release binary, target/release/urun
	$(CARGO) build --release --locked
	@mkdir -p target/release
	@ln -f target/$(TARGET)/release/urun $(BINARY) 2>/dev/null || cp -f target/$(TARGET)/release/urun $(BINARY)

check: ## Check format, lints, licences of dependencies, manual page
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	 else echo 'check: cargo-deny is not installed, its checks were skipped (cargo install cargo-deny)'; fi
	@if command -v man >/dev/null; then scripts/check-man $(MANUALS); \
	 else echo 'check: man is not installed, the manual page was not checked'; fi

advisories: ## Ask the network for known defects of the dependencies (needs cargo-deny)
	$(CARGO) deny --locked check advisories

test: prepare ## Run every test, in the test machine too; installs the Debian packages that are missing, asks for root by sudo
	scripts/test

test-vm: prepare ## Run the tests of the test machine (tests/vm) and no others
	scripts/test --vm

vm: prepare ## Build and start the test machine, and say how to use it
	@tests/vm/vm start
	@echo 'The test machine runs. A command in it: tests/vm/vm run [--user] COMMAND. Files: tests/vm/vm copy PATH. Its end: make vm-stop'

vm-stop: ## End the test machine
	@tests/vm/vm stop

test-root: prepare ## Run the tests that start containers, and no others
	scripts/test --test behaviour

test-security: prepare ## Run the attacks, the faults, refused calls, load, the assembler against random trees, the fuzzing, and no others
	URUN_ASSEMBLER_SEED=$$(date +%s)000 scripts/test --test security --test assembler --test faults --test turned_down --test load
	@scripts/fuzz $(FUZZ_SECONDS)

test-long: prepare build ## Run every test with many more random cases and every fault, and everything in the test machine in every way
	PROPTEST_CASES=20000 URUN_TEST_FAULTS=all scripts/test
	RUNTIME_UNDER_TEST=$(CURDIR)/$(BINARY) URUN_TEST_WITHOUT=openat2:ENOSYS scripts/test --test behaviour --test security
	RUNTIME_UNDER_TEST=$(CURDIR)/$(BINARY) URUN_TEST_WITHOUT=openat2:EPERM scripts/test --test behaviour --test security
	URUN_TEST_PURE_CGROUP2=1 URUN_TEST_FAULTS=all scripts/test --test faults -- --skip rootless
	URUN_TEST_LOAD=1000,5000 scripts/test --test load
	scripts/test --vm --long

prepare: # Install what the tests need and the machine lacks
	@scripts/packages test
	@scripts/packages engines
	@scripts/packages fuzz

BENCH_TOOLS := target/bench/tools
bench: bench-tools ## Measure every command against crun, runc, youki and the floor, into docs/bench (20 minutes)
	$(CARGO) bench --locked --bench run

bench-quick: bench-tools ## The same with few rounds and few shapes, into target/bench/quick (three minutes)
	$(CARGO) bench --locked --bench run -- --quick

bench-vm: bench-tools ## The quick one in the test machine, with either driver, into target/bench/vm
	benches/vm

order: bench-tools ## Look again which functions run needs side by side, into order.ld (after larger changes)
	$(CARGO) rustc --release --locked --bin urun --target-dir target/bench/order -- -C link-arg=-Wl,-Map=$(CURDIR)/target/bench/order/map
	BENCH_MAP=target/bench/order/map BENCH_URUN=target/bench/order/$(TARGET)/release/urun $(CARGO) bench --locked --bench run -- --order

bench-tools: # Install the peers, and compile what the measuring takes
	@scripts/packages bench
	@benches/peers
	@mkdir -p $(BENCH_TOOLS)
	@for tool in measure payload floor entered; do $(CC) -O2 -static -o $(BENCH_TOOLS)/$$tool benches/$$tool.c || exit; done
	@$(CC) -O2 -static -o $(BENCH_TOOLS)/libseccomp benches/libseccomp.c -lseccomp

FUZZ_SECONDS ?= 60
fuzz: ## Fuzz every parser for FUZZ_SECONDS (60) each, from the kept corpus
	@scripts/packages fuzz
	@scripts/fuzz $(FUZZ_SECONDS)

demo: ## Run a real root file system in a user namespace and show both sides of it
	@scripts/packages demo
	@$(MAKE) --no-print-directory build
	@$(SUDO) scripts/demo $(abspath $(BINARY))

man: ## Read the manual page
	man -l docs/man/urun.8

install: build ## Install the binary and the manual page below DESTDIR and PREFIX (default /usr/local)
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/urun
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(MANUALS)

.PHONY: help build check advisories test test-vm test-security vm vm-stop test-root test-long prepare bench bench-quick bench-vm order bench-tools fuzz demo man install

# The two commands that matter: `make run` and `make test`.
ARGS ?=
# What `make run` shows; the benches and tests are not built for it.
SHOWN = -p bellwether-server -p bellwether -p bellwether-gateway -p bellwether-agent-host -p bellwether-demo
# Rounds of `make soak`, its kills in a whole fleet, and seeds of the simulated world from SEED on.
ROUNDS ?= 25
KILLS ?= 1000
SEEDS ?= 1000
SEED ?= 1

# Cuts of the power in `make microcontroller`.
CUTS ?= 20

# Time of `make fuzz` for all targets together, in seconds.
SECONDS ?= 600

# Profile and machine of `make dist`.
PROFILE ?= release
TARGET ?=

# Folder with a pairs.tsv, and which of its pairs `make bench-delta` takes.
CORPUS ?=
PAIRS ?=

.PHONY: help run test dist bench bench-delta bench-adversarial delta-size fuzz interop microcontroller soak build fmt clean

help: ## Lists the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: ## Shows the main job with real processes. ARGS=--exit ends by itself; ARGS="--images DIR" takes your firmware; ARGS="--devices 24" shows all that can befall devices, and 5000 a fleet; ARGS=--microcontroller adds an emulated board.
	@scripts/tools.sh build
	cargo build --release --locked $(SHOWN)
	@target/release/bellwether-demo $(ARGS)

test: ## Checks everything: format, lints, tests, documents, licences. Loopback and free ports only.
	@scripts/test.sh

bench: ## Prints the figures, each beside a peer in the same run. ARGS="--images DIR" adds delta ratios of your firmware.
	@scripts/tools.sh bench
	cargo build --release --locked -p bellwether-bench
	@target/release/bellwether-bench $(ARGS)

bench-delta: ## Measures deltas of CORPUS=DIR (a folder with a pairs.tsv; PAIRS=a,b for some) beside every peer. ARGS=--reuse keeps the peers'.
	@scripts/bench-delta.sh "$(CORPUS)" "$(PAIRS)" $(ARGS)

bench-adversarial: ## Makes deltas of images that search structures dislike, of 0 bytes to 16 MiB, beside zstd. ARGS="--largest 64" goes on.
	@scripts/bench-delta.sh --adversarial $(ARGS)

delta-size: ## Holds the flash that applying deltas takes on a Cortex-M4 against its budget.
	@scripts/tools.sh delta-size
	@scripts/delta-size.sh

fuzz: ## Feeds hostile input to every parser for SECONDS (600); FUZZ_JOBS, FUZZ_TARGETS, FUZZ_KEEP and FUZZ_COVERAGE as in scripts/fuzz.sh.
	@scripts/tools.sh build
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),$(SECONDS)) scripts/fuzz.sh

soak: ## Repeats what kills, ROUNDS times (25); kills KILLS (1000) in a fleet; runs SEEDS worlds (1000); fuzzes FUZZ_SECONDS (3600).
	@scripts/tools.sh test
	@ROUNDS=$(ROUNDS) KILLS=$(KILLS) SEEDS=$(SEEDS) SEED=$(SEED) scripts/soak.sh

interop: ## Sets other people's code upon the server: CoAP, LwM2M, COSE, SUIT, CDDL, dissectors. As root: it listens on loopback.
	@scripts/interop.sh

microcontroller: ## Updates an emulated Cortex-M4, M3 and M33 from the real server, with CUTS (20) power cuts; holds flash, RAM and stack against their budgets. ARGS=--sweep cuts at every operation of the flash.
	@CUTS=$(CUTS) scripts/microcontroller.sh $(ARGS)

build: ## Builds the release binaries.
	@scripts/tools.sh build
	cargo build --release --locked $(SHOWN)

dist: ## Builds the release archive dist/bellwether-VERSION-TARGET.tar.gz, unpacks it elsewhere and tries it. PROFILE=dev is fast to build; TARGET=TRIPLE for another machine.
	@scripts/tools.sh build
	@PROFILE=$(PROFILE) TARGET=$(TARGET) scripts/dist.sh

fmt: ## Formats the sources.
	cargo fmt --all

clean: ## Removes what was built and what the demo left.
	cargo clean
	rm -rf demo-data

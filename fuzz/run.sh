#!/usr/bin/env bash
# `make fuzz`: run every target for SECONDS_EACH=60 seconds with libFuzzer; a panic, a hang of 10 s or 1 GiB of memory fails.
# Works with the stable toolchain: the coverage counters are LLVM's own, and no sanitizer is asked for (the parsers are
# safe Rust). With a nightly one, `cargo fuzz run TARGET` adds AddressSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# An explicit target keeps the flags away from build scripts and macros.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml --target "$host" --target-dir build/fuzz

# Seeds: the good files of the tests, so that mutation starts behind the first check.
golden=tests/golden
seed() { # TARGET FILE...
    mkdir -p "build/fuzz/corpus/$1"
    for file in "${@:2}"; do
        [ -f "$file" ] && cp -n "$file" "build/fuzz/corpus/$1/$(sha1sum <"$file" | cut -c1-16)"
    done
    true
}
seed safetensors "$golden"/llama_tied_odd/model/model.safetensors "$golden"/mistral_window/model/model.safetensors
seed gguf "$golden"/gguf/*.gguf
seed config "$golden"/*/model/config.json
seed adapter "$golden"/mistral_window/*/adapter_config.json
seed tokenizer_json fuzz/seeds/tokenizer_json/*
seed tokenizer_model fuzz/seeds/tokenizer_model/*
seed schema examples/demo/schema.json
seed jsonl examples/demo/*.jsonl tests/data/*.jsonl
seed formats fuzz/seeds/formats/*

status=0
for target in ${TARGETS:-safetensors gguf tokenizer_json tokenizer_model config adapter schema jsonl formats}; do
    mkdir -p "build/fuzz/corpus/$target" "build/fuzz/artifacts/$target"
    echo "== fuzz $target, $seconds s"
    "build/fuzz/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="build/fuzz/artifacts/$target/" "build/fuzz/corpus/$target" >"build/fuzz/$target.log" 2>&1 || {
        tail -n 25 "build/fuzz/$target.log"
        echo "FAILED: fuzz $target, input in build/fuzz/artifacts/$target"
        status=1
    }
    grep -h 'number_of_executed_units\|new_units_added' "build/fuzz/$target.log" || true
    rm -rf /dev/shm/bmn-fuzz* 2>/dev/null || true
done
exit "$status"

#!/usr/bin/env bash
# The Rust library itself under a sanitizer, its standard library compiled with it: tests/abi/sanitize.sh thread|address [TOOLCHAIN].
# TINY=1: with the tiny model alone, not the demo model too. No part of `make test`: it needs a nightly toolchain with rust-src, and
# builds everything anew in target/sanitize. Without kernels: what is watched is the processor's code.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=$1 toolchain=${2:-nightly} out=build/abi/sanitize
model=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
target=x86_64-unknown-linux-gnu
env -u CUDA_HOME RUSTFLAGS="-Zsanitizer=$kind -Cunsafe-allow-abi-mismatch=sanitizer" cargo "+$toolchain" build --locked -Zbuild-std \
    --target $target --target-dir target/sanitize -p biomistral-nlu-ffi
lib=$PWD/target/sanitize/$target/debug
ln -sf libbiomistral_nlu.so "$lib/libbiomistral_nlu.so.0"
runtime=$(rustc "+$toolchain" --print sysroot)/lib/rustlib/$target/lib/librustc-nightly_rt.${kind:0:1}san.a
mkdir -p "$out"
rm -rf "$out/tiny" && python3 tests/abi/tiny.py "$out/tiny" fuzz/seeds/tokenizer_model/tiny.model
python3 tests/abi/adapter.py "$out/tiny/adapter" 1 2 32
python3 tests/abi/adapter.py "$out/tiny/adapter2" 2 2 32
for name in threads life training; do
    cc -std=c99 -D_POSIX_C_SOURCE=200809L -g -Iinclude "tests/abi/c/$name.c" -o "$out/$name" -L"$lib" -lbiomistral_nlu -Wl,-rpath,"$lib" \
        -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -Wl,--export-dynamic -lm -lpthread -ldl -lrt -lresolv -lstdc++
done
export TSAN_OPTIONS="halt_on_error=0 second_deadlock_stack=1" ASAN_OPTIONS="detect_leaks=1"
watched() { setarch -R "$@"; } # its shadow memory wants fixed addresses
watched "$out/threads" "$out/tiny/model" "$out/tiny/adapter" "$out/tiny/adapter2" 8 200
watched "$out/life" "$out/tiny/model" "$out/tiny/adapter"
rm -rf "$out/made" && mkdir "$out/made"
watched "$out/training" "$out/tiny" "$out/tiny/adapter" "$out/made"
if [ -z "${TINY:-}" ]; then
    python3 tests/abi/adapter.py "$out/adapter1" 1 30 576
    python3 tests/abi/adapter.py "$out/adapter2" 2 30 576
    watched "$out/threads" "$model" "$out/adapter1" "$out/adapter2" 4 50
fi
echo "sanitize $kind: ok"

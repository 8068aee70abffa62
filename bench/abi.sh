#!/usr/bin/env bash
# Figures of the C ABI as one line of JSON, from the release library (`make build`): bench/abi.sh [MODEL]
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}}
lib=${BMN_LIBRARY:-$PWD/target/release}
mkdir -p build/abi
[ -e "$lib/libbiomistral_nlu.so.0" ] || ln -s libbiomistral_nlu.so "$lib/libbiomistral_nlu.so.0"
cc -std=c99 -O2 -Wall -Wextra -Iinclude bench/abi.c -o build/abi/bench -L"$lib" -lbiomistral_nlu -Wl,-rpath,"$lib" -lpthread -lm
build/abi/bench "$model" >/dev/null # the page cache is warm from here on
build/abi/bench "$model"

#!/usr/bin/env bash
# The ABI of the header beside the one committed in tests/abi/baseline.abi. `abi.sh --write` commits to what there is now:
# fine for additions; what is removed or changed makes BMN_ABI_VERSION and the soname go up.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v abidiff >/dev/null || { echo "SKIPPED abidiff: it is not installed (Debian: abigail-tools)"; exit 0; }
out=build/abi
mkdir -p "$out"
python3 tests/abi/stub.py include/biomistral_nlu.h >"$out/stub.c"
cc -std=c99 -g -shared -fPIC -Iinclude "$out/stub.c" -o "$out/stub.so"
if [ "${1:-}" = --write ]; then
    abidw --no-show-locs --no-comp-dir-path --no-corpus-path --out-file tests/abi/baseline.abi "$out/stub.so"
    exit
fi
# The stub stands for the library: run.sh checks that the two have the same functions.
abidiff --no-show-locs tests/abi/baseline.abi "$out/stub.so" || {
    echo "the ABI is another one than tests/abi/baseline.abi: see tests/abi/abi.sh"
    exit 1
}

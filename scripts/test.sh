#!/usr/bin/env bash
# `make test`: set up, format, lints, list of crates, all tests with the real model and tokenizer, documentation; then the skipped tests by name.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
BMN_DEMO_MODEL=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
BMN_MISTRAL_TOKENIZER=${BMN_MISTRAL_TOKENIZER:-$(scripts/fetch.sh mistral-tokenizer | tail -n 1)}
BMN_PYTHON=$PWD/build/venv/bin/python
export BMN_DEMO_MODEL BMN_MISTRAL_TOKENIZER BMN_PYTHON
# The kernels' compilers. Without them everything builds without kernels, and the tests of CUDA are skipped by name.
[ -n "${CUDA_HOME:-}" ] || scripts/fetch-cuda.sh >/dev/null || echo "no CUDA compilers: tests of CUDA are skipped" >&2
if [ -z "${BMN_CORPORA:-}" ] && [ -d ../shared/corpora ]; then
    BMN_CORPORA=$(cd ../shared/corpora && pwd)
    export BMN_CORPORA
fi

log=build/test.log
# A test that expects a panic would fill the log with backtraces; they hide the failures.
export RUST_BACKTRACE=0
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
scripts/third-party.py --check

# The log has everything (--show-output lets the lines of skipped tests through), the terminal what one wants to follow.
failed=""
part() { # NAME COMMAND...: goes on after a failure, and remembers it
    local name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}
cargo_tests() {
    cargo test --workspace --locked --no-fail-fast -- --show-output 2>&1 | tee "$log" |
        grep --line-buffered -E '^(error|warning: unused|     Running |   Doc-tests |test result: |test .* (FAILED|has been running))'
}
library_tests() { tests/abi/run.sh 2>&1 | tee build/abi.log; }
documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet; }
part tests cargo_tests
# Some seconds of fuzzing each; `make fuzz` takes longer.
part fuzzing env SECONDS_EACH="${SECONDS_EACH:-5}" fuzz/run.sh
part library library_tests
part documentation documentation

echo
echo "== results"
grep '^test result:' "$log" || true
skipped=$(cat "$log" build/abi.log | grep '^SKIPPED ' | sort -u || true)
ignored=$(sed -n 's/^test \(.*\) \.\.\. ignored\(.*\)$/ignored \1\2/p' "$log" | sort -u)
if [ -n "$skipped$ignored" ]; then
    echo "== skipped"
    printf '%s\n' "$skipped" "$ignored" | sed '/^$/d'
fi
[ -n "$failed" ] || { echo "all tests passed"; exit 0; }
# What failed comes last, with its output.
awk '/^failures:$/ {show = 1} /^test result:/ {show = 0} show' "$log" | head -n 200
grep -E -A 20 '^error' "$log" | head -n 60 || true
case $failed in *library*) tail -n 30 build/abi.log ;; esac
echo "FAILED:$failed"
exit 1

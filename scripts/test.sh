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
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
scripts/third-party.py --check

# --show-output lets the lines of skipped tests through.
status=0
cargo test --workspace --locked --no-fail-fast -- --show-output 2>&1 | tee "$log" || status=$?
# Some seconds of fuzzing each; `make fuzz` takes longer.
if [ -x fuzz/run.sh ]; then
    SECONDS_EACH=${SECONDS_EACH:-5} fuzz/run.sh || status=$?
fi
tests/abi/run.sh 2>&1 | tee build/abi.log || status=$?
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet || status=$?

echo
echo "== results"
grep '^test result:' "$log" || true
skipped=$(cat "$log" build/abi.log | grep '^SKIPPED ' | sort -u || true)
ignored=$(sed -n 's/^test \(.*\) \.\.\. ignored\(.*\)$/ignored \1\2/p' "$log" | sort -u)
if [ -n "$skipped$ignored" ]; then
    echo "== skipped"
    printf '%s\n' "$skipped" "$ignored" | sed '/^$/d'
fi
[ "$status" = 0 ] && echo "all tests passed" || echo "FAILED"
exit "$status"

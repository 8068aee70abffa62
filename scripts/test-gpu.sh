#!/usr/bin/env bash
# `make test-gpu`: the tests of CUDA on this machine's GPU, then on the virtual one. Tests of faults, settings and counters, which
# only the virtual GPU has, are skipped by name on the real one. Without a GPU that can be used the virtual part runs alone; the
# first and the last line say so. Exit status: 0 both parts passed, 1 a test failed, 3 passed but not on a real GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

BMN_DEMO_MODEL=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
export BMN_DEMO_MODEL
[ -n "${CUDA_HOME:-}" ] || scripts/fetch-cuda.sh >/dev/null

# What the tests would say one by one, said once. All is built as `make test` builds it, not again with other features.
cargo test --locked --quiet --no-run --workspace --test cuda
doctor=$("${CARGO_TARGET_DIR:-target}/debug/bmn" doctor --json)
why=$(python3 -c '
import json, sys
cuda = json.loads(sys.argv[1]).get("cuda") or {}
kernels, devices = cuda.get("kernels") or {}, cuda.get("devices") or []
if kernels.get("none"): sys.exit("make test-gpu: nothing can run, on no GPU: " + kernels["none"])
print(cuda.get("unusable") or (devices[0].get("unusable") if devices else "no device") or "")
' "$doctor")
say_why() {
    [ -z "$why" ] || echo "make test-gpu: NOT RUN on this machine's GPU, which cannot be used: $why; $1 on the virtual GPU"
}
say_why "running"

mkdir -p build
status=0
for real in 1 0; do
    [ -z "$why" ] || [ "$real" = 0 ] || continue
    log=build/test-gpu-$real.log
    [ "$real" = 1 ] && echo "== on this machine's GPU" || echo "== on the virtual GPU"
    {
        # shellcheck disable=SC2086
        BMN_TEST_GPU=$real cargo test --locked --no-fail-fast --workspace --test attention --test gemm --test rows --test product \
            --test training --test 'cuda_*' --test 'cudarc_*' ${TESTS:-} -- --show-output 2>&1 || touch build/test-gpu.failed
    } | tee "$log"
    grep '^SKIPPED ' "$log" | sort -u || true
    [ ! -e build/test-gpu.failed ] || status=1
    rm -f build/test-gpu.failed
done
if [ "$status" != 0 ]; then
    say_why "failed" >&2
    exit 1
fi
say_why "passed" >&2
[ -z "$why" ] || exit 3

#!/usr/bin/env bash
# Trace one command with Nsight Systems; prints time by kernel, copy and driver call.
# Usage: scripts/nsys.sh COMMAND...   e.g. scripts/nsys.sh bmn bench --model M --device cuda:0
# Build with `cargo build --release -p bmn --features nvtx` for the ranges of passes and operations.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
command -v nsys >/dev/null || { echo "nsys.sh: Nsight Systems (nsys) is not on PATH" >&2; exit 1; }
mkdir -p build
nsys profile --force-overwrite true --output build/trace --trace cuda,nvtx --cuda-graph-trace node "$@"
nsys stats --report cuda_gpu_kern_sum,cuda_gpu_mem_time_sum,cuda_api_sum,nvtx_sum --format table build/trace.nsys-rep

#!/usr/bin/env bash
# Profile kernels of one command with Nsight Compute and print a roofline table.
# Usage: scripts/ncu.sh KERNEL_REGEX COMMAND...   e.g. scripts/ncu.sh 'skinny_.*' bmn bench kernel linear_add
# Build with `cargo build --release -p bmn --features profiling` for source lines in the report (build/KERNEL.ncu-rep).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
kernels=$1
shift
command -v ncu >/dev/null || { echo "ncu.sh: Nsight Compute (ncu) is not on PATH" >&2; exit 1; }
mkdir -p build
metrics=gpu__time_duration.sum,dram__bytes.sum,dram__throughput.avg.pct_of_peak_sustained_elapsed
metrics+=,sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active,sm__warps_active.avg.pct_of_peak_sustained_active
report=build/$(tr -c 'A-Za-z0-9_\n' _ <<<"$kernels").ncu-rep
ncu --force-overwrite --export "$report" --kernel-name "regex:$kernels" --launch-count "${LAUNCHES:-20}" \
    --set full --import-source yes --metrics "$metrics" "$@"
ncu --import "$report" --csv --page raw --units base --metrics "$metrics" | python3 -c '
import csv, sys
rows = list(csv.DictReader(line for line in sys.stdin if line.startswith("\"")))[1:]
print("%-28s %10s %9s %8s %7s %8s %7s  %s" % ("kernel", "µs", "MB", "GB/s", "dram %", "tensor %", "warps %", "nearest roof"))
for r in rows:
    n = lambda name: float(r[name].replace(",", "") or 0)
    ns, size = n("gpu__time_duration.sum"), n("dram__bytes.sum")
    memory = n("dram__throughput.avg.pct_of_peak_sustained_elapsed")
    tensor = n("sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active")
    roof = max((memory, "memory"), (tensor, "tensor cores"))
    print("%-28s %10.2f %9.2f %8.1f %7.1f %8.1f %7.1f  %s %.0f %%" % (
        r["Kernel Name"].split("(")[0][:28], ns / 1e3, size / 1e6, size / max(ns, 1), memory, tensor,
        n("sm__warps_active.avg.pct_of_peak_sustained_active"), roof[1], roof[0]))'
echo "report: $report"

#!/usr/bin/env bash
# Builds the release package of the committed sources twice, in two folders of different names, and compares the hashes.
# Two release builds: ten minutes on two cores. The registry (CARGO_HOME) is shared, the compiled crates are not.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CUDA_HOME=${CUDA_HOME:-$(scripts/fetch-cuda.sh | tail -n 1)}
for copy in one another/deeper; do
    git clone --quiet --no-local . "$folder/$copy"
    [ ! -d build/dist-venv ] || { mkdir -p "$folder/$copy/build" && cp -a build/dist-venv "$folder/$copy/build/"; }
    (cd "$folder/$copy" && scripts/dist.sh)
done
cmp -s "$folder"/one/build/dist/*.sha256 "$folder"/another/deeper/build/dist/*.sha256 || {
    diff -rq "$folder"/one/build/dist "$folder"/another/deeper/build/dist || true
    diff -rq "$folder"/{one,another/deeper}/target/dist/x86_64-unknown-linux-gnu/dist/build | grep 'biomistral.*/out' || true
    echo "FAILED: the two packages differ, see above"
    exit 1
}
echo "reproducible: $(cut -d' ' -f1 "$folder"/one/build/dist/*.sha256)"

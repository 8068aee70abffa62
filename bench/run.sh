#!/usr/bin/env bash
# `make bench`: this engine beside llama.cpp, transformers, llguidance and xgrammar, same weights, same run. Installs those
# into build/bench (4 GB, once); `run.sh training` measures training alone, beside transformers + peft. ROUNDS=5 and THREADS=2 by default, SEVEN_BILLION=1 adds 7B shapes (15 GB of disk).
set -euo pipefail
cd "$(dirname "$0")/.."

out=build/bench venv=build/bench/venv
mkdir -p "$out"
if ! cmp -s bench/requirements.txt "$venv/installed"; then
    echo "installing the peers into $venv (some minutes, once)" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
    # Compiled here with the flags of this processor, as its users would.
    CMAKE_ARGS="-DGGML_NATIVE=ON" "$venv/bin/python" -m pip install --quiet --disable-pip-version-check llama-cpp-python==0.3.36
    cp bench/requirements.txt "$venv/installed"
fi
model=$(scripts/fetch.sh demo-model | tail -n 1)
[ -d "$out/demo-hf" ] || target/release/bmn model convert "$model" "$out/demo-hf"
if [ "${1:-}" = training ]; then
    cargo build --release --locked --quiet -p biomistral-nlu --example training_kernels
    exec "$venv/bin/python" bench/peers_training.py --bmn target/release/bmn --kernels target/release/examples/training_kernels \
        --model "$model" --hf "$out/demo-hf" --out "$out" --rounds "${ROUNDS:-3}" --threads "${THREADS:-2}"
fi
"$venv/bin/python" bench/run.py --bmn target/release/bmn --model "$model" \
    --hf "$out/demo-hf" --python "$venv/bin/python" --out "$out" --rounds "${ROUNDS:-5}" --threads "${THREADS:-2}"
# The span constraint by itself: tables on stderr, JSON lines in the folder.
tokenizer=$(scripts/fetch.sh mistral-tokenizer | tail -n 1)
cargo build --release --locked --quiet -p biomistral-nlu --example span_constraint
target/release/examples/span_constraint "$tokenizer" "$model" --texts "$out/texts.json" >"$out/constraint.jsonl"
"$venv/bin/python" bench/peers_constraint.py "$out/texts.json" "$tokenizer" >"$out/peers-constraint.jsonl"
if [ "${SEVEN_BILLION:-0}" = 1 ]; then
    [ -d "$out/7b" ] || target/release/bmn model random --shape 7b "$out/7b"
    "$venv/bin/python" bench/seven_billion.py --bmn target/release/bmn --python "$venv/bin/python" --model "$out/7b" \
        --out "$out" --threads "${THREADS:-2}"
fi

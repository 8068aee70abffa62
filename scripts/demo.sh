#!/usr/bin/env bash
# `make demo`: all seven tasks on the notes of examples/demo, shown here and written to demo.html.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${BMN_DEMO_MODEL:-$(scripts/fetch.sh demo-model | tail -n 1)}
bmn=${BMN:-target/release/bmn}
out=build/demo
rm -rf "$out"
mkdir -p "$out"

note="SmolLM2-135M-Instruct with the adapter demo (data/adapters/demo): a small model, tuned for these tasks. It finds drugs and diseases and knows a paraphrase; its other choices are near to guesses."
start=$(date +%s.%N)
task() { # VERB FILE [FLAG...]: the results go to build/demo/VERB.jsonl
    local verb=$1 file=$2
    shift 2
    "$bmn" "$verb" --model "$model" --adapter demo --with-text --out "$out/$verb.jsonl" "$@" "examples/demo/$file"
}
task extract notes.jsonl --schema examples/demo/schema.json --max-spans 3 --max-words 6 --no-overlap
task events events.jsonl --schema examples/demo/schema.json --max-spans 2 --max-words 6 --no-overlap
task relate relate.jsonl --schema examples/demo/schema.json --max-words 6 --no-overlap
task classify classify.jsonl
task answer answer.jsonl
task entail entail.jsonl
task similar similar.jsonl
seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')

results=("$out"/{extract,events,relate,classify,answer,entail,similar}.jsonl)
"$bmn" view --terminal "${results[@]}"
"$bmn" view --title "Seven tasks on clinical notes" --note "$note The notes were written for this demo." \
    --out demo.html "${results[@]}"
echo "$note"
echo
echo "Seven tasks, $(cat "${results[@]}" | wc -l) documents: $seconds s, the model loaded seven times."
echo "The same as a page: demo.html. The result lines: $out/*.jsonl"

#!/usr/bin/env python3
"""The paper's ablation in small: as many training records of 1, 3 and 7 task types, zero-shot on the benchmarks.

    python bench/ablation.py --bmn target/release/bmn --model MODEL.gguf --corpora CORPORA --out build/ablation
        [--records 480] [--seeds 3] [--limit 30] [--sets ncbi_disease,ddi2013,...]

Builds the records of data/mnlu.toml, draws equally many for each mix and seed, tunes an adapter on each, and evaluates all of
them and the untuned model on the dev splits. What is done already is not done again, a run that was cut off goes on. Prints
the table; OUT/ablation.{md,svg,json} hold it.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEVEN = ["extract", "trigger", "argument", "attribute", "relate", "classify", "classify_multi", "entail", "similar", "answer"]
# Name, types, their tasks in the records, wordings of an instruction. Relations, classes and questions are in the last two alone.
MIXES = [
    ("1 type", 1, ["extract"], 1),
    ("3 types", 3, ["extract", "entail", "similar"], 1),
    ("7 types", 7, SEVEN, 1),
    ("7 types, 3 wordings", 7, SEVEN, 3),
]
# Of a mix, each type has the same number of records, divided among its kinds.
TYPES = {"trigger": "events", "argument": "events", "attribute": "events", "classify_multi": "classify"}
SETS = ["ncbi_disease", "ddi2013", "gad", "hoc", "pubmedqa"]


def run(*command):
    print("+", *command, file=sys.stderr)
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def build(options, phrasings):
    out = options.out / f"data-{phrasings}"
    if not (out / "card.json").exists():
        config = (ROOT / "data/mnlu.toml").read_text()
        assert "phrasings = 1\n" in config
        path = options.out / f"mnlu-{phrasings}.toml"
        path.write_text(config.replace("phrasings = 1\n", f"phrasings = {phrasings}\n"))
        run(options.bmn, "data", "build", "--quiet", "--config", path, "--corpora", options.corpora, "--model", options.model, "--out", out)
    return out


def draw(folder, tasks, count, seed):
    """`count` lines: as many of each type, of its kinds, and of a kind from all its corpora alike."""
    dice = random.Random(seed)
    types = {}
    for task in tasks:
        types.setdefault(TYPES.get(task, task), []).append(task)
    lines = []
    for number, (name, kinds) in enumerate(types.items()):
        share = count // len(types) + (number < count % len(types))
        for at, kind in enumerate(kinds):
            pool = [line for file in sorted(folder.glob(f"train/*.{kind}.jsonl")) for line in file.read_text().splitlines()]
            wanted = share // len(kinds) + (at < share % len(kinds))
            if wanted > len(pool):
                sys.exit(f"{kind}: {wanted} records wanted, {len(pool)} there")
            lines += dice.sample(pool, wanted)
    dice.shuffle(lines)
    return lines


def tune(options, name, folder, tasks, seed):
    """The adapter of one mix and seed."""
    out = options.out / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    adapter = out / "run/adapter"
    if not (adapter / "adapter_model.safetensors").exists():
        out.mkdir(exist_ok=True)
        (out / "records.jsonl").write_text("\n".join(draw(folder, tasks, options.records, seed)) + "\n")
        plan = tomllib.loads((ROOT / "data/mnlu.toml").read_text())["run"]["train"]
        plan["run"]["batch"] = 8  # Few records: twice the steps say more than smoother ones.
        table = lambda key: f"[{key}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in plan[key].items() if k != "validate_every")
        top = f'model = {json.dumps(str(options.model.resolve()))}\noutput = "run"\nseed = {seed}\ntemplate = "zephyr"\nmax_tokens = 512\n'
        text = top + table("tuning") + table("optimiser") + table("run") + '[[train]]\nfile = "records.jsonl"\n'
        (out / "train.toml").write_text(text)
        again = ["--resume"] if any((out / "run/checkpoints").glob("step-*")) else []
        run(options.bmn, "train", "--config", out / "train.toml", *again)
    return adapter


def evaluate(options, out, adapter):
    """Headline figures by set, and the baseline's, and each set's task."""
    if not (out / "report.json").exists():
        command = [options.bmn, "eval", "blurb", "--model", options.model, "--corpora", options.corpora, "--split", "dev"]
        command += ["--limit", options.limit, "--only", ",".join(options.sets), "--out", out]
        command += ["--adapter", adapter] if adapter else ["--template", "model"]
        run(*command, *(["--resume"] if out.exists() else []))
    figures = {}
    for found in json.loads((out / "report.json").read_text())["sets"]:
        value = next(m["value"] for m in found["measures"] if m["name"] == found["metric"])
        figures[found["name"]] = {"task": found["task"], "metric": found["metric"], "value": value, "baseline": found["baseline"]}
    return figures


def table(results, sets):
    lines = ["| mix | " + " | ".join(sets) + " | mean |", "|---|" + "---|" * (len(sets) + 1)]
    for name, tasks, runs in results:
        cells = []
        for key in sets:
            values = [figures[key]["value"] for figures in runs]
            known = runs[0][key]["task"] in tasks
            spread = f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}{'' if known else ' *'}")
        means = [statistics.mean(figures[key]["value"] for key in sets) for figures in runs]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {statistics.mean(means):.3f} |")
    return "\n".join(lines) + "\n\n\\* a task that the mix has not.\n"


def plot(results, sets):
    """Means of the sets whose task neither of the smaller mixes has, and of the others; a dot per seed."""
    width, height, left, top = 640, 300, 60, 40
    small = set(MIXES[0][2]) | set(MIXES[1][2])
    groups = {"tasks of every mix": lambda task: task in small, "tasks of the 7 types alone": lambda task: task not in small}
    colours = ["#1b6ca8", "#c1440e"]
    step = (width - left - 20) / len(results)
    y = lambda value: top + (height - top - 40) * (1 - max(0.0, value))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">']
    out.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    for number, (label, of) in enumerate(groups.items()):
        out.append(f'<circle cx="{left + 10 + 220 * number}" cy="18" r="4" fill="{colours[number]}"/>')
        out.append(f'<text x="{left + 20 + 220 * number}" y="22">{label}</text>')
    for at, (name, _, runs) in enumerate(results):
        x = left + step * (at + 0.5)
        out.append(f'<text x="{x:.1f}" y="{height - 16}" text-anchor="middle">{name}</text>')
        for number, of in enumerate(groups.values()):
            chosen = [key for key in sets if of(runs[0][key]["task"])]
            if not chosen:
                continue
            values = [statistics.mean(figures[key]["value"] for key in chosen) for figures in runs]
            place = x - 12 + 24 * number
            out += [f'<circle cx="{place:.1f}" cy="{y(v):.1f}" r="3" fill="{colours[number]}" fill-opacity="0.6"/>' for v in values]
            mean = y(statistics.mean(values))
            out.append(f'<line x1="{place - 9:.1f}" x2="{place + 9:.1f}" y1="{mean:.1f}" y2="{mean:.1f}" stroke="{colours[number]}" stroke-width="2"/>')
    return "\n".join(out + ["</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["bmn", "model", "corpora", "out"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--records", type=int, default=480)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--sets", type=lambda names: names.split(","), default=SETS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = [("untuned", [], [evaluate(options, options.out / "eval-untuned", None)])]
    for name, _, tasks, phrasings in MIXES:
        folder = build(options, phrasings)
        runs = []
        for seed in range(1, options.seeds + 1):
            adapter = tune(options, name, folder, tasks, seed)
            runs.append(evaluate(options, adapter.parent.parent / "eval", adapter))
        results.append((name, tasks, runs))
    text = table(results, options.sets)
    (options.out / "ablation.md").write_text(text)
    (options.out / "ablation.svg").write_text(plot(results, options.sets))
    (options.out / "ablation.json").write_text(json.dumps([{"mix": n, "tasks": t, "runs": r} for n, t, r in results], indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()

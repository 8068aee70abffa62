"""Side-by-side speed of this engine and of what a user would pick instead: same weights, same run.

usage: run.py --bmn target/release/bmn --model DEMO.gguf
              --python VENV/bin/python --hf FOLDER --out DIR [--rounds 5] [--threads 2]

Every engine is a process of its own that stays loaded; in each round all of them run each measurement once, one after the
other, in rotated order. A ratio is taken within a round; the table shows medians and, of the ratios, the range.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LABELS = ["disease", "drug"]
OPTIONS = ["cardiology", "oncology", "infectious disease", "psychiatry"]
# Measurement, engines that take part, unit, and how seconds become the figure shown (higher or lower is better).
PEERS = {"prompt": ["llama", "transformers"], "decode": ["llama", "transformers"], "choice": ["llama", "transformers"],
         "spans": ["llama", "transformers"]}


class Worker:
    """A loaded engine that answers one measurement a line."""

    def __init__(self, name, command, log):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.read()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name} ended early; see its log")

    def measure(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def lines(command):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def workload(args, bf16):
    """Prompts as this engine makes them, as token ids, so that every engine reads the same tokens."""
    documents = os.path.join(HERE, "documents.jsonl")
    with open(documents) as file:
        texts = {d["id"]: d["text"] for d in map(json.loads, file)}
    common = ["--model", args.model, "--template", "zephyr", "--show-prompt", documents]
    spans = lines([args.bmn, "extract", "--labels", ",".join(LABELS), *common])
    choice = lines([args.bmn, "classify", "--options", ",".join(OPTIONS), *common])
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write("\n".join(texts.values()) * 6)
    ids = lines([args.bmn, "tokenize", "--model", args.model, file.name])[0]["ids"]
    os.unlink(file.name)
    lettered = [f"({chr(65 + i)}) {option}" for i, option in enumerate(OPTIONS)]
    return {
        "gguf": os.path.abspath(args.model),
        "bf16_gguf": bf16,
        "prompt": ids[:512],
        "labels": LABELS,
        "options": OPTIONS,
        "spans": [{"prompt_ids": d["prompts"][0]["prompt_ids"], "text": texts[d["id"]], "labels": LABELS} for d in spans],
        "choice": [{"prompt_ids": d["prompts"][0]["prompt_ids"], "text": texts[d["id"]], "options": lettered} for d in choice],
    }


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if n == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ["bmn", "model", "python", "out"]:
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hf", required=True, help="the same model as a Hugging Face folder in bf16")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    load = workload(args, os.path.join(args.out, "demo-bf16.gguf"))
    load_path = os.path.join(args.out, "workload.json")
    with open(load_path, "w") as file:
        json.dump(load, file)
    log = open(os.path.join(args.out, "workers.log"), "w")
    threads = str(args.threads)
    peer = [args.python, os.path.join(HERE, "peers.py")]
    workers = {
        "bmn": Worker("bmn", [args.bmn, "bench", "--model", args.model, "--threads", threads, "--serve", load_path], log),
        "llama": Worker("llama", [*peer, "llama", args.model, load_path, threads], log),
        "transformers": Worker("transformers", [*peer, "transformers", args.hf, load_path, threads], log),
        "torch": Worker("torch", [*peer, "torch", "-", load_path, threads], log),
    }
    rss = {}
    for worker in workers.values():  # once, not counted
        for what in ["matrix"] if worker.name == "torch" else PEERS:
            answer = worker.measure(what)
            if what == "decode":  # weights, cache of prompt and answer, and what the engine itself needs
                rss[worker.name] = answer["rss_mib"]
    results = {what: {name: [] for name in ["bmn", *peers]} for what, peers in PEERS.items()}
    limits = {"bandwidth": [], "decode": [], "peak": [], "torch": []}
    for round_ in range(args.rounds):
        for what, peers in PEERS.items():
            names = ["bmn", *peers]
            for name in names[round_ % len(names):] + names[: round_ % len(names)]:
                answer = workers[name].measure(what)
                results[what][name].append(statistics.mean(answer["seconds"]))
            if what == "decode":
                # Decoded once more, with a pass over memory after each token: what can be read changes within a second.
                answer = workers["bmn"].measure("bandwidth")
                limits["bandwidth"].append(answer["gb_per_second"])
                limits["decode"].append(answer["seconds"][0])
            if what == "prompt":
                limits["peak"].append(workers["bmn"].measure("peak")["gflop_per_second"])
                limits["torch"].append(2 * 512 * 4096 * 14336 / workers["torch"].measure("matrix")["seconds"][0] / 1e9)
        print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr)
    facts = workers["bmn"].measure("facts")
    for worker in workers.values():
        worker.close()

    def ratio(what):
        """Best peer's time over ours, round by round."""
        per_round = zip(*[results[what][name] for name in PEERS[what]])
        return [min(peers) / ours for peers, ours in zip(per_round, results[what]["bmn"])]

    show = {"prompt": ("prompt of 512 tokens, tok/s", lambda s: 512 / s, 0), "decode": ("decode at 512, tok/s", lambda s: 1 / s, 1),
            "choice": ("one choice of four, s a document", lambda s: s, 4), "spans": ("span extraction, s a document", lambda s: s, 4)}
    rows = [["measurement", "this engine", "llama.cpp BF16", "transformers bf16", "times the best of them"]]
    for what, (title, figure, digits) in show.items():
        rows.append([title] + [spread([figure(s) for s in results[what][n]], digits) for n in ["bmn", *PEERS[what]]]
                    + [spread(ratio(what), 2)])
    rows.append(["resident memory, MiB", f"{rss['bmn']:.0f}", f"{rss['llama']:.0f}", f"{rss['transformers']:.0f}", "-"])
    print()
    table(rows)
    flops = [512 * facts["flop_per_prompt_token"] / s / 1e9 for s in results["prompt"]["bmn"]]
    bytes_ = [facts["weight_bytes"] / s / 1e9 for s in limits["decode"]]
    limit_rows = [["limit of the machine, same run", "value", "reached", "share"]]
    for title, limit, reached in [
        ("bf16 matrix rate, own loop, GFLOP/s", limits["peak"], flops), ("bf16 matrix rate, torch, GFLOP/s", limits["torch"], flops),
        ("read bandwidth, GB/s", limits["bandwidth"], bytes_)]:
        limit_rows.append([title, spread(limit, 0), spread(reached, 0), spread([r / l for r, l in zip(reached, limit)], 2)])
    memory = facts["weight_bytes"] + facts["cache_bytes"]
    limit_rows.append(["weights + KV cache, MiB", f"{memory / 2**20:.0f}", f"{rss['bmn']:.0f}", f"{rss['bmn'] * 2**20 / memory:.2f}"])
    table(limit_rows)
    out = os.path.join(args.out, "bench.json")
    with open(out, "w") as file:
        json.dump({"seconds": results, "limits": limits, "rss_mib": rss, "facts": facts, "threads": args.threads}, file, indent=1)
    print(f"written: {out}")


if __name__ == "__main__":
    main()

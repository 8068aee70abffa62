"""LoRA training beside transformers + peft: rank 16 on all linear layers, 8 examples of 128 tokens, every token counts.

    python bench/peers_training.py --bmn target/release/bmn --kernels target/release/examples/training_kernels
        --model MODEL.gguf --hf FOLDER --out DIR [--rounds 3] [--threads 2]

FOLDER is what `bmn model convert MODEL.gguf FOLDER` wrote. In each round every engine runs once, in a process of its own, in
rotated order: the median of its steps after the first is its speed, the peak of its resident memory its memory. Ratios are
taken within a round; the table shows medians and ranges. `make bench-training` does all of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES, LENGTH, STEPS = 8, 128, 6
VOCABULARY, WIDTH = 49152, 576
# Parameters of matrices that every token meets, the head among them.
PARAMETERS = 30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 576 * 1536) + VOCABULARY * WIDTH


def peft(folder, kind, threads):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind))
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=targets))
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(0, VOCABULARY, (EXAMPLES, LENGTH), generator=torch.Generator().manual_seed(1))
    speeds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        speeds.append(EXAMPLES * LENGTH / (time.perf_counter() - start))
    return {"speed": statistics.median(speeds[1:])}


def matrix(threads):
    """GFLOP/s of torch's bf16 products at the shapes of this model, the best of many."""
    import torch

    torch.set_num_threads(threads)
    rates = []
    for n, k in [(1536, 576), (4096, 4096)]:
        a, b = torch.randn(1024, k, dtype=torch.bfloat16), torch.randn(k, n, dtype=torch.bfloat16)
        for _ in range(20):
            start = time.perf_counter()
            a @ b
            rates.append(2 * 1024 * n * k / (time.perf_counter() - start) / 1e9)
    return {"rate": max(rates)}


def resident(key="VmHWM"):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))


def cross_entropy(threads):
    """Materialised logits in bf16: seconds, and peak of memory above what was there before."""
    import torch

    torch.set_num_threads(threads)
    rows = EXAMPLES * LENGTH
    x = torch.randn(rows, WIDTH).bfloat16().requires_grad_()
    head = (torch.randn(VOCABULARY, WIDTH) * 0.04).bfloat16()
    targets = torch.randint(0, VOCABULARY, (rows,))

    def run():
        start = time.perf_counter()
        torch.nn.functional.cross_entropy((x @ head.T).float(), targets).backward()
        return time.perf_counter() - start

    run()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    seconds = [run() for _ in range(3)]
    return {"seconds": statistics.median(seconds), "mib": resident() - before}


def measured(command):
    """What a command prints, and the peak of its resident memory in MiB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            sys.exit(f"{command[0]} failed:\n{err.read()[-2000:]}")
        return out.read(), err.read(), usage.ru_maxrss / 1024


class Bmn:
    """`bmn train` on records of 128 tokens."""

    def __init__(self, binary, model, threads, folder):
        self.binary, self.folder, self.runs = binary, Path(folder), 0
        words = "the of and to in is was for on that with as by at from are this be or an it were which not have".split()
        self.config = f"""
model = "{Path(model).resolve()}"
output = "OUTPUT"
template = "zephyr"
labels = "all"
max_tokens = {LENGTH}
[[train]]
file = "train.jsonl"
[tuning]
method = "lora"
rank = 16
alpha = 32.0
[optimiser]
rate = 1e-4
[run]
epochs = {STEPS}
batch = {EXAMPLES}
pass_tokens = {EXAMPLES * LENGTH}
threads = {threads}
save_every = 1000
"""
        low, high = 1, LENGTH
        while low < high:  # The most words of one token each that fit beside the frame.
            middle = (low + high + 1) // 2
            self.records(words, middle)
            if self.plan().returncode == 0:
                low = middle
            else:
                high = middle - 1
        self.records(words, low)
        self.tokens = int(next(line for line in self.plan().stdout.splitlines() if line.startswith("tokens")).split()[1])

    def records(self, words, n):
        def record(i):
            answer = " ".join(words[(i * 7 + j * (i + 1)) % len(words)] for j in range(n))
            return {"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": answer}]}

        (self.folder / "train.jsonl").write_text("".join(json.dumps(record(i)) + "\n" for i in range(EXAMPLES)))
        (self.folder / "run.toml").write_text(self.config.replace("OUTPUT", f"run{self.runs}"))

    def plan(self):
        return subprocess.run([self.binary, "train", "--config", self.folder / "run.toml", "--plan"], capture_output=True, text=True)

    def __call__(self):
        self.runs += 1
        (self.folder / "run.toml").write_text(self.config.replace("OUTPUT", f"run{self.runs}"))
        _, progress, peak = measured([self.binary, "train", "--config", str(self.folder / "run.toml")])
        speeds = [float(part.split()[0]) for part in progress.split(", ") if part.endswith("tokens/s")]
        return {"speed": statistics.median(speeds[1:]), "mib": peak}


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser()
    for name in ["bmn", "kernels", "model", "hf", "out"]:
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    threads = str(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        ours = Bmn(args.bmn, args.model, args.threads, folder)

        def other(*arguments):
            out, _, peak = measured([sys.executable, os.path.abspath(__file__), "--child", *arguments, threads])
            return {"mib": peak, **json.loads(out.splitlines()[-1])}

        engines = {
            "bmn": ours,
            "peft bf16": lambda: other("peft", args.hf, "bfloat16"),
            "peft f32": lambda: other("peft", args.hf, "float32"),
            "matrix": lambda: other("matrix"),
            "fused": lambda: json.loads(measured([args.kernels, "--cross-entropy", threads])[0].splitlines()[-1]),
            "materialised": lambda: other("cross_entropy"),
        }
        results = {name: [] for name in engines}
        for round_ in range(args.rounds):
            names = list(engines)
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                results[name].append(engines[name]())
            print(f"round {round_ + 1} of {args.rounds}: {json.dumps({n: results[n][-1] for n in names})}", file=sys.stderr)
    of = lambda name, key: [result[key] for result in results[name]]
    best = [max(a, b) for a, b in zip(of("peft bf16", "speed"), of("peft f32", "speed"))]
    rate = [4 * PARAMETERS * speed / 1e9 for speed in of("bmn", "speed")]
    ratio = lambda a, b: spread([x / y for x, y in zip(a, b)], 2)
    rows = [
        ("LoRA, tokens/s", of("bmn", "speed"), of("peft bf16", "speed"), of("peft f32", "speed"), ratio(of("bmn", "speed"), best), ">= 1.7", 0),
        ("resident memory, MiB", of("bmn", "mib"), of("peft bf16", "mib"), of("peft f32", "mib"), ratio(of("bmn", "mib"), of("peft bf16", "mib")), "<= 0.4", 0),
        ("GFLOP/s of the floor; machine", rate, of("matrix", "rate"), None, ratio(rate, of("matrix", "rate")), ">= 0.60", 0),
        ("cross-entropy, s; materialised", of("fused", "seconds"), of("materialised", "seconds"), None, ratio(of("fused", "seconds"), of("materialised", "seconds")), "<= 1", 3),
        ("its memory, MiB; materialised", of("fused", "mib"), of("materialised", "mib"), None, ratio(of("fused", "mib"), of("materialised", "mib")), "<= 0.1", 0),
    ]
    print(f"\n{ours.tokens} tokens a step here, {EXAMPLES * LENGTH} in peft; {args.threads} threads, {args.rounds} rounds, median (range)\n")
    print("| figure | bmn | transformers + peft bf16, or the other | peft f32 | ratio | reach |\n|---|---|---|---|---|---|")
    for what, a, b, c, share, reach, digits in rows:
        cells = [spread(x, digits) if x else "-" for x in (a, b, c)]
        print(f"| {what} | {' | '.join(cells)} | {share} | {reach} |")
    os.makedirs(args.out, exist_ok=True)
    out = os.path.join(args.out, "training.json")
    with open(out, "w") as file:
        json.dump({"results": results, "tokens": ours.tokens, "threads": args.threads}, file, indent=1)
    print(f"\nwritten: {out}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, *arguments = sys.argv[2:]
        arguments[-1] = int(arguments[-1])
        print(json.dumps({"peft": peft, "matrix": matrix, "cross_entropy": cross_entropy}[what](*arguments)))
    else:
        main()

"""7B shapes with random bf16 weights: load time, decode against read bandwidth, prompt against torch's bf16 rate, same run.

usage: seven_billion.py --bmn BMN --python VENV/bin/python --model FOLDER --out DIR [--threads 2]
"""

import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from run import Worker, table  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    for name in ["bmn", "python", "model", "out"]:
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    load = os.path.join(args.out, "workload.json")
    log = open(os.path.join(args.out, "workers.log"), "a")
    torch = Worker("torch", [args.python, os.path.join(HERE, "peers.py"), "torch", "-", load, str(args.threads)], log)
    rate = lambda: 2 * 512 * 4096 * 14336 / min(torch.measure("matrix")["seconds"][0] for _ in range(3)) / 1e9  # noqa: E731
    before = rate()
    command = [args.bmn, "bench", "--model", args.model, "--prompt", "512", "--decode", "8", "--repeat", "3", "--json",
               "--threads", str(args.threads)]
    ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    after = rate()
    torch.close()
    # A bf16 weight has two bytes and costs a prompt token two operations; the head is computed for the last token only.
    prompt = ours["prompt_of_bf16_rate"] * ours["bf16_operations_per_second"] / 1e9
    table([
        ["7B shapes, bf16", "value"],
        ["load, s", f"{ours['load_seconds']:.2f}"],
        ["decode, tok/s", f"{ours['decode']['median']:.2f}"],
        ["of the read bandwidth", "{median:.2f} ({min:.2f}-{max:.2f})".format(**ours["decode_of_bandwidth"])],
        ["prompt, tok/s", f"{ours['prompt']['median']:.1f}"],
        ["prompt, GFLOP/s", f"{prompt:.0f}"],
        ["torch bf16 before and after, GFLOP/s", f"{before:.0f} and {after:.0f}"],
        ["of torch's rate", f"{prompt / max(before, after):.2f}"],
    ])
    with open(os.path.join(args.out, "seven_billion.json"), "w") as file:
        json.dump({"bmn": ours, "torch_gflop_per_second": [before, after]}, file, indent=1)


if __name__ == "__main__":
    main()

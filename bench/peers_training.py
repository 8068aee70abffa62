"""LoRA training beside transformers + peft: rank 16 on all linear layers, 8 examples of 128 tokens, every token counts.

    python bench/peers_training.py target/release/bmn MODEL.gguf [MODEL_FOLDER]

MODEL_FOLDER is what `bmn model convert MODEL.gguf MODEL_FOLDER` wrote, for transformers (without it only bmn runs). Each
engine runs in a process of its own, one after the other; the figures are tokens per second of the best of several steps,
and the peak of resident memory.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES, LENGTH, STEPS = 8, 128, 6


def peft(folder):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(0, 49152, (EXAMPLES, LENGTH), generator=torch.Generator().manual_seed(1))
    best = 0.0
    for _ in range(STEPS):
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        best = max(best, EXAMPLES * LENGTH / (time.perf_counter() - start))
    return best


def bmn(binary, model):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # Words of one token each, with the frame around them 128 in all.
        words = "the of and to in is was for on that with as by at from are this be or an it were which not have".split()
        record = lambda n, i: json.dumps(
            {"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": " ".join(words[(i * 7 + j * (i + 1)) % len(words)] for j in range(n))}]}
        )
        config = f"""
model = "{Path(model).resolve()}"
output = "run"
labels = "all"
max_tokens = {LENGTH}
[[train]]
file = "train.jsonl"
[tuning]
method = "lora"
[optimiser]
rate = 1e-4
[run]
epochs = {STEPS}
batch = {EXAMPLES}
pass_tokens = {EXAMPLES * LENGTH}
save_every = 1000
"""
        (folder / "bench.toml").write_text(config)
        for n in range(LENGTH, 0, -1):
            (folder / "train.jsonl").write_text("".join(record(n, i) + "\n" for i in range(EXAMPLES)))
            plan = subprocess.run([binary, "train", "--config", folder / "bench.toml", "--plan"], capture_output=True, text=True)
            if plan.returncode == 0:
                break
        tokens = next(line for line in plan.stdout.splitlines() if line.startswith("tokens")).split()[1]
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        run = subprocess.run([binary, "train", "--config", folder / "bench.toml"], capture_output=True, text=True, check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        assert peak >= began / 1024
        speeds = [float(part.split()[0]) for part in run.stderr.split(", ") if part.endswith("tokens/s")]
        return max(speeds), peak, int(tokens)


def main():
    if sys.argv[1] == "--peft":
        speed = peft(sys.argv[2])
        print(json.dumps([speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    speed, memory, tokens = bmn(sys.argv[1], sys.argv[2])
    print(f"bmn                        {speed:7.0f} tokens/s {memory:7.0f} MiB ({tokens} tokens a step)")
    if len(sys.argv) > 3:
        other = subprocess.run([sys.executable, __file__, "--peft", sys.argv[3]], capture_output=True, text=True, check=True)
        peer_speed, peer_memory = json.loads(other.stdout.splitlines()[-1])
        print(f"transformers + peft, bf16  {peer_speed:7.0f} tokens/s {peer_memory:7.0f} MiB")
        print(f"ratio                      {speed / peer_speed:7.2f}          {memory / peer_memory:7.2f}")


if __name__ == "__main__":
    main()

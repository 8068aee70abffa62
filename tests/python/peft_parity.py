"""Log-probabilities of a base model with an adapter: bmn's against transformers + peft, by the project's tolerance rule.

    python peft_parity.py BMN MODEL_FOLDER ADAPTER_FOLDER

The adapter is loaded by both as it lies on disk. bmn's error against peft in float64 must be at most twice that of peft in
bfloat16. Prints both errors, and the change that the adapter makes, as JSON; fails where the rule is broken.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def log_probabilities(folder, adapter, ids, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    if adapter:
        model = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False).to(dtype)
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()


def main():
    torch.set_num_threads(1)
    bmn, folder, adapter = sys.argv[1:]
    vocabulary = json.loads((Path(folder) / "config.json").read_text())["vocab_size"]
    ids = [(i * 7919 + 3) % vocabulary for i in range(24)]
    with tempfile.TemporaryDirectory() as out:
        out = f"{out}/ours.npy"
        command = [bmn, "logits", "--device", "cpu", "--model", folder, "--adapter", adapter, "--ids", ",".join(map(str, ids)), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        ours = np.load(out).astype(np.float64)
    exact = log_probabilities(folder, adapter, ids, torch.float64)
    rounded = log_probabilities(folder, adapter, ids, torch.bfloat16)
    plain = log_probabilities(folder, None, ids, torch.float64)
    error = lambda x: {"mean": np.abs(x - exact).mean(), "max": np.abs(x - exact).max()}
    found = {"bmn": error(ours), "peft bf16": error(rounded), "change by the adapter": error(plain)}
    print(json.dumps(found))
    assert found["change by the adapter"]["mean"] > 4 * found["peft bf16"]["mean"], "the adapter changes too little to tell"
    for key in ["mean", "max"]:
        assert found["bmn"][key] <= 2 * found["peft bf16"][key], f"{key} error above twice that of peft in bf16"


if __name__ == "__main__":
    main()

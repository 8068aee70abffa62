"""Merged models once more, in float64 numpy, from the formula: base + sum of weight * mask(difference) / (1 - drop).

    python merge_reference.py '{"base": .., "out": .., "drop": .., "rescale": .., "seed": .., "sources": [[kind, folder, weight], ..]}'

kind is "model" or "adapter". Prints as JSON: values compared, how many of the matrices' are not the float64 value rounded
to bf16, by how many steps of bf16 the worst is off, and how many elements of each source were dropped.
"""

import json
import sys
from pathlib import Path

import numpy as np


def read(path):
    """The tensors of a safetensors file, as float64."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, info in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + x for x in info["data_offsets"])
        if info["dtype"] == "BF16":
            values = (np.frombuffer(data[start:end], "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data[start:end], {"F32": "<f4", "F16": "<f2"}[info["dtype"]])
        tensors[name] = values.astype(np.float64).reshape(info["shape"])
    return tensors


def splitmix(counter):
    """The finaliser of SplitMix64."""
    with np.errstate(over="ignore"):
        x = np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def kept(seed, source, tensor, shape, drop):
    with np.errstate(over="ignore"):
        key = splitmix(splitmix(splitmix(np.uint64(seed)) + np.uint64(source)) + np.uint64(tensor))
        drawn = splitmix(key + np.arange(np.prod(shape), dtype=np.uint64)) >> np.uint64(40)
    return (drawn.astype(np.float64) / 2**24 >= drop).reshape(shape)


def bf16(x):
    """Nearest, ties to even, as 16 bits."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.int64)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def order(bits):
    """16 bits of floats in the order of their values."""
    return np.where(bits >= 0x8000, 0x8000 - bits, bits)


def differences(kind, folder, base, names):
    if kind == "model":
        return {name: read(Path(folder) / "model.safetensors")[name] - base[name] for name in names}
    options = json.loads((Path(folder) / "adapter_config.json").read_text())
    rank, parts = options["r"], read(Path(folder) / "adapter_model.safetensors")
    scale = options["lora_alpha"] / (rank**0.5 if options.get("use_rslora") else rank)
    products = {}
    for name, a in parts.items():
        if name.endswith(".lora_A.weight"):
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            products[module + ".weight"] = scale * parts[name.replace("lora_A", "lora_B")] @ a
    return products


def main():
    asked = json.loads(sys.argv[1])
    base, out = (read(Path(asked[key]) / "model.safetensors") for key in ("base", "out"))
    layers = 1 + max(int(name.split(".")[2]) for name in base if ".layers." in name)
    parts = ["input_layernorm"] + [f"self_attn.{p}_proj" for p in "qkvo"] + ["post_attention_layernorm"]
    parts += [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    names = ["model.embed_tokens.weight"] + [f"model.layers.{i}.{p}.weight" for i in range(layers) for p in parts]
    names += ["model.norm.weight"] + ["lm_head.weight"] * ("lm_head.weight" in base)
    assert sorted(names) == sorted(base) == sorted(out)
    sources = [(differences(kind, folder, base, names), weight) for kind, folder, weight in asked["sources"]]
    compared, rounded, worst, dropped = 0, 0, 0, [0] * len(sources)
    for number, name in enumerate(names):
        want = base[name].copy()
        for source, (delta, weight) in enumerate(sources):
            if name in delta:
                mask = kept(asked["seed"], source, number, base[name].shape, asked["drop"])
                dropped[source] += int((~mask).sum())
                want += weight * mask * delta[name] / (1 - asked["drop"] if asked["rescale"] else 1)
        compared += want.size
        if want.ndim == 1:
            assert np.allclose(out[name], want, rtol=1e-6, atol=1e-9), name
            continue
        off = np.abs(order(bf16(want)) - order(bf16(out[name])))
        # Between two steps of bf16, a float32 sum may fall on either side; near zero its own error counts.
        off = np.where(np.abs(out[name] - want) <= 1e-7, 0, off)
        rounded, worst = rounded + int((off > 0).sum()), max(worst, int(off.max()))
    print(json.dumps({"compared": compared, "rounded": rounded, "worst": worst, "dropped": dropped}))


if __name__ == "__main__":
    main()

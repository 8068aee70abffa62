"""A merged model beside the formula, bit by bit, in numpy: merged.py BASE ADAPTER MERGED SEED for
`bmn merge --base BASE --model BASE --adapter ADAPTER --drop 0.2 --seed SEED --out MERGED`, all matrices in bf16.
Whole tensors: the first, the last, and one of each kind of every file; a file that is empty is left out."""
import json
import pathlib
import struct
import sys

import numpy as np

base, adapter, merged = map(pathlib.Path, sys.argv[1:4])
seed, weight, drop = int(sys.argv[4]), 0.5, 0.2


def tensors(folder):
    """name -> (file, byte, shape, type), in the order of the files."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.stat().st_size > 0:
            data = path.open("rb").read(8)
            size = struct.unpack("<Q", data)[0]
            header = json.loads(path.open("rb").read(8 + size)[8:])
            header.pop("__metadata__", None)
            for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                found[name] = (path, 8 + size + t["data_offsets"][0], tuple(t["shape"]), t["dtype"])
    return found


def bits(tensor):
    path, at, shape, dtype = tensor
    return np.array(np.memmap(path, np.uint32 if dtype == "F32" else np.uint16, "r", at, shape))


def rounded(tensor):
    """In bf16, as adapters are computed with."""
    x = bits(tensor)
    return bf16(x.view(np.float32)) if x.dtype == np.uint32 else x


def f32(half):
    return (half.astype(np.uint32) << 16).view(np.float32)


def bf16(x):
    u = x.view(np.uint32)
    return ((u + np.uint32(0x7FFF) + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def mix(x):
    x = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def expected(name, number):
    """W + weight mask(s B A) / (1 - drop), each step in f32, ranks in order; W where the adapter has nothing."""
    w, key = bits(model[name]), f"base_model.model.{name.removesuffix('weight')}lora_%s.weight"
    if key % "A" not in lora:
        return w
    a, b = (f32(rounded(lora[key % half])) for half in "AB")
    seeded = mix(mix(mix(seed) + np.uint64(1)) + np.uint64(number))
    out, cols = np.empty_like(w), w.shape[1]
    for row in range(0, w.shape[0], 512):
        rows = slice(row, min(w.shape[0], row + 512))
        x = np.zeros(w[rows].shape, np.float32)
        for r in range(a.shape[0]):
            x += b[rows, r : r + 1] * a[r]
        x *= np.float32(scale)
        index = np.arange(row * cols, row * cols + x.size, dtype=np.uint64).reshape(x.shape)
        uniform = (mix(seeded + index) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        factor = np.float32(weight * (1.0 / (1.0 - drop)))
        out[rows] = bf16(f32(w[rows]) + np.where(uniform < np.float32(drop), np.float32(0), factor * x))
    return out


np.seterr(over="ignore")
model, lora, result = tensors(base), tensors(adapter), tensors(merged)
config = json.loads((adapter / "adapter_config.json").read_text())
scale = config["lora_alpha"] / config["r"]
layers = ["input_layernorm", *(f"self_attn.{x}_proj" for x in "qkvo"), "post_attention_layernorm", *(f"mlp.{x}_proj" for x in ("gate", "up", "down"))]
count = json.loads((base / "config.json").read_text())["num_hidden_layers"]
order = ["model.embed_tokens", *(f"model.layers.{i}.{part}" for i in range(count) for part in layers), "model.norm", "lm_head"]
numbers = {f"{name}.weight": number for number, name in enumerate(order)}
other = 0
for path in dict.fromkeys(tensor[0] for tensor in result.values()):
    names = [name for name, tensor in result.items() if tensor[0] == path]
    kinds = {name.split(".")[-2]: name for name in names}
    for name in dict.fromkeys([names[0], *kinds.values(), names[-1]]):
        want, got = expected(name, numbers[name]), bits(result[name])
        if want.dtype != got.dtype:  # vectors are written in f32
            want = f32(want).view(np.uint32)
        differ = int((want != got).sum())
        other += differ
        print(f"{path.name} {name} {list(got.shape)}: {differ} of {got.size} differ", flush=True)
sys.exit(other > 0)

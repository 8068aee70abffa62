"""How far two runs of one arithmetic drift apart in the demo model when their f32 sums differ in the last bit.

    python tests/python/rounding_spread.py SmolLM2-135M-Instruct.Q4_1.gguf [LOGPROBS.npy ...]

The arithmetic is this engine's: f32 residual stream and sums, bf16 matrix inputs, keys, values and attention weights. Each
run multiplies every sum by 1 + 1e-7 of noise, as another order of summation would. Printed are the error against transformers in
f32, the drift between runs, and transformers' own error in bf16, all as mean and largest difference of log-probabilities over the
whole vocabulary. The files are what `bmn logits --model GGUF --ids IDS --device cpu|cuda:0 --out FILE.npy` wrote for the ids that
are printed first.
"""

import json
import sys

import numpy as np
import torch
from make_golden import GOLDEN, build, demo_model, run

TOKENS = 40


def rounded(x):
    return x.to(torch.bfloat16).float()


def noisy_run(config, weights, ids, seed):
    """Log-probabilities [T, V] with noise of `seed`; none for 0."""
    noise = torch.Generator().manual_seed(seed)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    dim, count = config.hidden_size // heads, len(ids)

    def linear(x, name):
        y = x @ weights[name + ".weight"].T
        return y * (1 + 1e-7 * torch.randn(y.shape, generator=noise)) if seed else y

    def norm(h, name):
        return rounded(h * torch.rsqrt((h * h).mean(-1, keepdim=True) + config.rms_norm_eps) * weights[name + ".weight"])

    theta = config.rope_parameters["rope_theta"]
    angle = torch.arange(count)[:, None] * theta ** (-2.0 * torch.arange(dim // 2, dtype=torch.float64) / dim)[None]
    cos, sin = angle.cos().float()[:, None], angle.sin().float()[:, None]

    def rotate(x):
        first, second = x[..., : dim // 2], x[..., dim // 2 :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    hidden = torch.full((count, count), float("-inf")).triu(1)
    h = weights["model.embed_tokens.weight"][ids]
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        x = norm(h, at + "input_layernorm")
        q = rounded(rotate(linear(x, at + "self_attn.q_proj").view(count, heads, dim)))
        k = rounded(rotate(linear(x, at + "self_attn.k_proj").view(count, kv_heads, dim)))
        v = rounded(linear(x, at + "self_attn.v_proj").view(count, kv_heads, dim))
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        s = torch.einsum("thd,shd->hts", q, k) / dim**0.5 + hidden
        p = torch.exp(s - s.max(-1, keepdim=True).values)
        o = torch.einsum("hts,shd->thd", rounded(p), v) / p.sum(-1, keepdim=True).transpose(0, 1)
        h = h + linear(rounded(o.reshape(count, heads * dim)), at + "self_attn.o_proj")
        x = norm(h, at + "post_attention_layernorm")
        gate = torch.nn.functional.silu(linear(x, at + "mlp.gate_proj"))
        h = h + linear(rounded(gate * linear(x, at + "mlp.up_proj")), at + "mlp.down_proj")
    logits = linear(norm(h, "model.norm"), "model.embed_tokens")
    return torch.log_softmax(logits.double(), -1).numpy()


@torch.no_grad()
def main(path, files):
    config, state, _ = demo_model(path)
    weights = {name: rounded(w) for name, w in state.items()}
    ids = json.loads((GOLDEN / "demo" / "case.json").read_text())["ids"][:TOKENS]
    print("ids", ",".join(map(str, ids)))

    def logprobs(dtype):
        model = build(config, dtype)
        model.load_state_dict(weights, strict=False)
        return torch.log_softmax(torch.from_numpy(run(model, [ids])), -1).numpy()

    def far(what, x, y):
        difference = np.abs(x - y)
        print(f"{what}: mean {difference.mean():.4f}, largest {difference.max():.3f}")

    exact = logprobs(torch.float32)
    far("error of transformers in bf16", logprobs(torch.bfloat16), exact)
    runs = [noisy_run(config, weights, ids, seed) for seed in range(4)]
    for seed, got in enumerate(runs):
        far(f"error of run {seed}", got, exact)
    for seed in (1, 2, 3):
        far(f"drift of run {seed} from run 0", runs[seed], runs[0])
    found = {file: np.load(file).astype(np.float64) for file in files}
    for file, got in found.items():
        far(f"error of {file}", got, exact)
    for first, second in zip(files, files[1:]):
        far(f"drift of {second} from {first}", found[second], found[first])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])

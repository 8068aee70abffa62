"""Makes tests/golden: small models, token ids, and logits computed by other implementations.

    python tests/python/make_golden.py tiny
    python tests/python/make_golden.py gguf
    python tests/python/make_golden.py demo SmolLM2-135M-Instruct.Q4_1.gguf
    python tests/python/make_golden.py answers SmolLM2-135M-Instruct.Q4_1.gguf SHOWN

Needs torch, transformers, peft, safetensors, numpy, gguf and, for `demo`, tokenizers. The layout of what it writes, and
how the figures are meant, stands in tests/golden/README.md. The same versions give the same bytes.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent.parent / "golden"


# ---------------------------------------------------------------------------------------------------------------------
# The reference: Mistral in numpy, every operation in float64. Written for this file, checked below against transformers.


def reference(config, weights, ids, window_keys=None, adapter=None):
    """Logits [T, V] of one sequence. `weights` and `adapter` hold float64 arrays under HF names."""

    def linear(x, name):
        y = x @ weights[name + ".weight"].T
        if adapter is not None and name in adapter:
            a, b, scale = adapter[name]
            y = y + scale * (x @ a.T) @ b.T
        return y

    def norm(h, name):
        return h / np.sqrt((h * h).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weights[name + ".weight"]

    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    position = np.arange(len(ids))
    angle = position[:, None] * config["rope_theta"] ** (-2.0 * np.arange(dim // 2) / dim)[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]

    def rotate(x):
        first, second = x[..., : dim // 2], x[..., dim // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    distance = position[:, None] - position[None, :]
    seen = distance >= 0
    if window_keys is not None:
        seen &= distance < window_keys
    h = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = norm(h, at + "input_layernorm")
        q = rotate(linear(x, at + "self_attn.q_proj").reshape(len(ids), heads, dim))
        k = rotate(linear(x, at + "self_attn.k_proj").reshape(len(ids), kv_heads, dim))
        v = linear(x, at + "self_attn.v_proj").reshape(len(ids), kv_heads, dim)
        out = np.empty_like(q)
        for head in range(heads):
            group = head // (heads // kv_heads)
            score = np.where(seen, q[:, head] @ k[:, group].T / np.sqrt(dim), -np.inf)
            p = np.exp(score - score.max(-1, keepdims=True))
            out[:, head] = p / p.sum(-1, keepdims=True) @ v[:, group]
        h = h + linear(out.reshape(len(ids), heads * dim), at + "self_attn.o_proj")
        x = norm(h, at + "post_attention_layernorm")
        gate, up = linear(x, at + "mlp.gate_proj"), linear(x, at + "mlp.up_proj")
        h = h + linear(gate / (1 + np.exp(-gate)) * up, at + "mlp.down_proj")
    x = norm(h, "model.norm")
    return x @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T


# ---------------------------------------------------------------------------------------------------------------------
# Tiny models.

TINY = {
    # Grouped queries 4:1, a window shorter than the text, untied head, V and F no multiples of a vector.
    "mistral_window": dict(
        kind="mistral", C=64, H=8, G=2, D=8, F=144, V=257, layers=2, window=8, theta=1e4, tied=False, adapters=True
    ),
    # One key/value head, no window.
    "mistral_mqa": dict(kind="mistral", C=64, H=4, G=1, D=16, F=136, V=101, layers=3, window=None, theta=1e4, tied=False),
    # Llama with tied head, head width not C/H, odd lengths of every sum.
    "llama_tied_odd": dict(kind="llama", C=51, H=3, G=3, D=14, F=37, V=97, layers=2, window=None, theta=5e5, tied=True),
    "mistral_d32": dict(kind="mistral", C=40, H=4, G=2, D=32, F=72, V=67, layers=2, window=16, theta=1e4, tied=False),
    "llama_d64": dict(kind="llama", C=36, H=3, G=1, D=64, F=50, V=66, layers=1, window=None, theta=1e5, tied=True),
    "mistral_d128": dict(kind="mistral", C=32, H=2, G=1, D=128, F=48, V=65, layers=1, window=33, theta=1e6, tied=False),
}
LENGTHS = [40, 17, 1]


def config_of(case):
    common = dict(
        vocab_size=case["V"],
        hidden_size=case["C"],
        intermediate_size=case["F"],
        num_hidden_layers=case["layers"],
        num_attention_heads=case["H"],
        num_key_value_heads=case["G"],
        head_dim=case["D"],
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        tie_word_embeddings=case["tied"],
        rope_parameters={"rope_type": "default", "rope_theta": case["theta"]},
        bos_token_id=1,
        eos_token_id=2,
    )
    if case["kind"] == "mistral":
        return transformers.MistralConfig(sliding_window=case["window"], **common)
    return transformers.LlamaConfig(**common)


def randomise(model, generator):
    """Weights of a trained model's liveliness: attention that has favourites, logits of a few units."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        if name.endswith("norm.weight"):
            value = 1 + 0.25 * noise
        elif "embed_tokens" in name:
            value = noise
        elif "lm_head" in name:
            value = noise * (3.0 / p.shape[1] ** 0.5)
        else:
            value = noise * ((1.6 if "q_proj" in name or "k_proj" in name else 0.8) / p.shape[1] ** 0.5)
        p.data.copy_(value.to(torch.bfloat16))


def build(config, dtype):
    kind = transformers.MistralForCausalLM if config.model_type == "mistral" else transformers.LlamaForCausalLM
    config._attn_implementation = "eager"
    return kind(config).to(dtype).eval()


def error(logits, truth):
    """How far logits are from the truth: the figures that a test compares its own with."""
    difference = np.abs(logits - truth)
    return {"max_abs": float(difference.max()), "mean_abs": float(difference.mean())}


@torch.no_grad()
def run(model, sequences):
    return np.concatenate([model(torch.tensor([ids])).logits[0].double().numpy() for ids in sequences])


def float64(path):
    return {name: tensor.double().numpy() for name, tensor in load_file(path).items()}


def tiny():
    for number, (name, case) in enumerate(TINY.items()):
        folder = GOLDEN / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        generator = torch.Generator().manual_seed(1000 + number)
        config = config_of(case)
        model = build(config, torch.bfloat16)
        randomise(model, generator)
        model.save_pretrained(folder / "model")
        (folder / "model" / "generation_config.json").unlink(missing_ok=True)
        sequences = [torch.randint(0, case["V"], (n,), generator=generator).tolist() for n in LENGTHS]
        plain = dict(config.to_dict(), rope_theta=case["theta"])
        weights = float64(folder / "model" / "model.safetensors")
        truth = np.concatenate([reference(plain, weights, ids, case["window"]) for ids in sequences])

        double = build(config, torch.float64)
        double.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
        # transformers keeps norms, softmax and rotary angles in float32 even then.
        assert np.abs(run(double, sequences) - truth).max() < 2e-5 * np.abs(truth).max(), name
        if case["window"] is not None:
            # The window is exactly W keys, i-W < j <= i: one key more or less is another model.
            for off in (-1, 1):
                other = np.concatenate([reference(plain, weights, ids, case["window"] + off) for ids in sequences])
                assert np.abs(other - truth).max() > 1e-2, name
        np.save(folder / "logits.npy", truth.astype(np.float32))
        facts = {
            "transformers": transformers.__version__,
            "sequences": sequences,
            "bf16": error(run(model, sequences), truth),
            "logit_std": float(truth.std()),
        }
        if case.get("adapters"):
            facts["adapters"] = adapters(folder, model, plain, weights, case, sequences[0], generator)
        (folder / "case.json").write_text(json.dumps(facts, indent=1) + "\n")
        print(name, facts["bf16"], "std", facts["logit_std"])


def adapters(folder, model, plain, weights, case, ids, generator):
    """PEFT adapters written by peft: logits of the first sequence with each."""
    from peft import LoraConfig, get_peft_model

    facts = {}
    for name, options in {
        "all_linear_r4": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "rslora_qv_r8": dict(r=8, lora_alpha=4, target_modules=["q_proj", "v_proj"], use_rslora=True),
        "patterns": dict(
            r=4,
            lora_alpha=8,
            target_modules=["k_proj", "o_proj", "down_proj"],
            rank_pattern={"layers.1.self_attn.k_proj": 2},
            alpha_pattern={"o_proj": 3},
        ),
    }.items():
        base = build(model.config, torch.bfloat16)
        base.load_state_dict(model.state_dict())
        wrapped = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options), autocast_adapter_dtype=False)
        for key, p in wrapped.named_parameters():
            if "lora_" in key:
                noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
                p.data.copy_((noise * (0.7 / p.shape[1] ** 0.5)).to(torch.bfloat16))
        path = folder / name
        wrapped.save_pretrained(path)
        (path / "README.md").unlink(missing_ok=True)
        written = json.loads((path / "adapter_config.json").read_text())
        written["target_modules"].sort()  # peft writes a set
        (path / "adapter_config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
        stored, parts = float64(path / "adapter_model.safetensors"), {}
        for key, a in stored.items():
            if key.endswith(".lora_A.weight"):
                module = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                scaling = wrapped.base_model.model.get_submodule(module).scaling["default"]
                parts[module] = (a, stored[key.replace("lora_A", "lora_B")], scaling)
        truth = reference(plain, weights, ids, case["window"], parts)
        double = get_peft_double(model, path)
        assert np.abs(run(double, [ids]) - truth).max() < 2e-5 * np.abs(truth).max(), name
        np.save(path / "logits.npy", truth.astype(np.float32))
        facts[name] = {
            "bf16": error(run(wrapped, [ids]), truth),
            "change": error(np.load(folder / "logits.npy")[: len(ids)], truth),
            "scales": {module: part[2] for module, part in parts.items()},
        }
        print(" ", name, facts[name]["bf16"], "changes", facts[name]["change"])
    return facts


def get_peft_double(model, path):
    from peft import PeftModel

    base = build(model.config, torch.float64)
    base.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    return PeftModel.from_pretrained(base, path, autocast_adapter_dtype=False).double().eval()


# ---------------------------------------------------------------------------------------------------------------------
# Quantised blocks, and a GGUF of every type that the gguf package can write.


def quantised():
    import gguf
    from gguf import GGMLQuantizationType as Q

    folder = GOLDEN / "gguf"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)

    blocks = {}
    scales_at = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for name, places in scales_at.items():
        length, size = gguf.GGML_QUANT_SIZES[Q[name]]
        stored = random.integers(0, 256, (1024 // length, size), dtype=np.uint8)
        for at in places:  # arbitrary bits, but finite scales
            stored[:, at : at + 2] = random.normal(0, 0.1, len(stored)).astype("<f2").view(np.uint8).reshape(-1, 2)
        blocks[name + ".stored"] = torch.from_numpy(stored.reshape(-1).copy())
        blocks[name + ".values"] = torch.from_numpy(gguf.quants.dequantize(stored, Q[name]).reshape(-1).copy())
    save_file(blocks, folder / "blocks.safetensors")

    case = dict(kind="llama", C=64, H=4, G=2, D=16, F=96, V=40, layers=1, window=None, theta=5e4, tied=False)
    model = build(config_of(case), torch.float32)
    randomise(model, torch.Generator().manual_seed(99))
    types = dict(q=Q.Q4_1, k=Q.F16, v=Q.Q5_1, o=Q.Q8_0, gate=Q.Q4_0, up=Q.Q5_0, down=Q.BF16, embed=Q.Q8_0, head=Q.F32)
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(case["C"])
    writer.add_block_count(case["layers"])
    writer.add_feed_forward_length(case["F"])
    writer.add_head_count(case["H"])
    writer.add_head_count_kv(case["G"])
    writer.add_rope_dimension_count(case["D"])
    writer.add_rope_freq_base(case["theta"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(case["V"])
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}é" for i in range(case["V"])])
    writer.add_token_scores([-0.5 * i for i in range(case["V"])])
    writer.add_token_types([1] * case["V"])
    writer.add_add_bos_token(True)
    writer.add_bos_token_id(1)
    state = {}

    def add(gguf_name, hf_name, kind, heads=None):
        w = model.state_dict()[hf_name].numpy()
        if heads:  # as llama.cpp's converter does
            w = w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        w = np.ascontiguousarray(w)
        stored = gguf.quants.quantize(w, kind)
        writer.add_tensor(gguf_name, stored, raw_dtype=kind)
        w = gguf.quants.dequantize(stored, kind).reshape(w.shape)
        if heads:
            w = w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        state[hf_name] = torch.from_numpy(np.array(w, dtype=np.float32)).to(torch.bfloat16)

    add("token_embd.weight", "model.embed_tokens.weight", types["embed"])
    for layer in range(case["layers"]):
        of, to = f"blk.{layer}.", f"model.layers.{layer}."
        add(of + "attn_norm.weight", to + "input_layernorm.weight", Q.F32)
        for short, stem, heads in [("q", "attn_q", case["H"]), ("k", "attn_k", case["G"]), ("v", "attn_v", None)]:
            add(f"{of}{stem}.weight", f"{to}self_attn.{short}_proj.weight", types[short], heads)
        add(of + "attn_output.weight", to + "self_attn.o_proj.weight", types["o"])
        add(of + "ffn_norm.weight", to + "post_attention_layernorm.weight", Q.F32)
        for short in ["gate", "up", "down"]:
            add(f"{of}ffn_{short}.weight", f"{to}mlp.{short}_proj.weight", types[short])
    add("output_norm.weight", "model.norm.weight", Q.F32)
    add("output.weight", "lm_head.weight", types["head"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.config.save_pretrained(folder / "model")
    (folder / "model" / "generation_config.json").unlink(missing_ok=True)
    save_file(state, folder / "model" / "model.safetensors", metadata={"format": "pt"})


# ---------------------------------------------------------------------------------------------------------------------
# The demo model.

NOTE = """HISTORY OF PRESENT ILLNESS: Mrs. Åkesson is a 67-year-old woman with type 2 diabetes mellitus, hypertension and \
stage 3a chronic kidney disease who presents with two days of worsening shortness of breath and 3 kg of weight gain. \
She stopped taking furosemide 40 mg daily last week because of dizziness. She denies chest pain, fever or cough. \
No known drug allergies.
PHYSICAL EXAM: BP 162/94 mmHg, HR 104/min, SpO2 91 % on room air, temperature 36.8 °C. Bibasilar crackles, pitting edema \
to the knees, no murmur.
ASSESSMENT AND PLAN: Acute decompensated heart failure, most likely from diuretic non-adherence. Started furosemide 80 mg \
IV twice daily; metformin held while eGFR is below 45 mL/min. Troponin T was negative twice, so that myocardial \
infarction is unlikely. Repeat potassium (3.1 mmol/L) this evening.
"""


def demo_model(path):
    """The demo model's configuration, weights as dequantised, and tokenizer."""
    import gguf
    from tokenizers import Tokenizer, models, pre_tokenizers

    reader = gguf.GGUFReader(path)
    field = {name: f.contents() for name, f in reader.fields.items()}
    heads, kv_heads = field["llama.attention.head_count"], field["llama.attention.head_count_kv"]

    def rotate_half_order(w, n):
        """Undo the interleaving of q and k that the converter to GGUF applied."""
        return w.reshape(n, w.shape[0] // n // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)

    parts = {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    state = {}
    for tensor in reader.tensors:
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(reversed(tensor.shape.tolist())))
        w = rotate_half_order(w, heads) if "attn_q" in tensor.name else w
        w = rotate_half_order(w, kv_heads) if "attn_k" in tensor.name else w
        stem = tensor.name.removesuffix(".weight")
        name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}.get(stem)
        if name is None:
            _, layer, part = stem.split(".")
            name = f"model.layers.{layer}.{parts[part]}"
        state[name + ".weight"] = torch.from_numpy(np.array(w, dtype=np.float32))
    config = transformers.LlamaConfig(
        vocab_size=field["llama.vocab_size"],
        hidden_size=field["llama.embedding_length"],
        intermediate_size=field["llama.feed_forward_length"],
        num_hidden_layers=field["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=field["llama.context_length"],
        rms_norm_eps=field["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": field["llama.rope.freq_base"]},
        tie_word_embeddings=True,
    )
    vocab = {token: i for i, token in enumerate(field["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in field["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    return config, state, tokenizer


def demo(path):
    config, state, tokenizer = demo_model(path)
    ids = tokenizer.encode(NOTE).ids

    model = build(config, torch.float32)
    model.load_state_dict(state, strict=False)
    logits = run(model, [ids])
    rounded = {name: w.to(torch.bfloat16).float() for name, w in state.items()}
    model.load_state_dict(rounded, strict=False)
    rounded_logits = run(model, [ids])
    bf16_logits = run(model.to(torch.bfloat16), [ids])

    positions = np.unique(np.concatenate([np.arange(4), np.arange(4, len(ids), 5), [len(ids) - 1]]))
    # Ids over the whole vocabulary, and those that the text goes on with.
    spread = [(i * 1021 + 7) % config.vocab_size for i in range(48)]
    following = list(dict.fromkeys(ids[p + 1] for p in positions[:-1] if ids[p + 1] not in spread))[:16]
    chosen = sorted(spread + following)

    def lse(x):
        peak = x.max(-1)
        return peak + np.log(np.exp(x - peak[:, None]).sum(-1))

    folder = GOLDEN / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts = {
        "transformers": transformers.__version__,
        "text": NOTE,
        "ids": ids,
        "positions": positions.tolist(),
        "chosen_ids": chosen,
        "bf16": {},
    }
    got = bf16_logits[positions]
    for name, all_logits in {"exact": logits, "rounded": rounded_logits}.items():
        x = all_logits[positions]
        normaliser = lse(x)
        logprobs = x - normaliser[:, None]
        np.save(folder / f"logits_{name}.npy", np.ascontiguousarray(x[:, chosen], np.float32))
        np.save(folder / f"lse_{name}.npy", normaliser)
        facts[f"argmax_{name}"] = x.argmax(-1).tolist()
        facts["bf16"][name] = {
            "logits_all": error(got, x),
            "logits": error(got[:, chosen], x[:, chosen]),
            "logprobs": error((got - lse(got)[:, None])[:, chosen], logprobs[:, chosen]),
            "lse": error(lse(got), normaliser),
            "same_argmax": float((got.argmax(-1) == x.argmax(-1)).mean()),
        }
        print(name, json.dumps(facts["bf16"][name]), "std", x.std())
    (folder / "case.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    print(len(ids), "tokens,", len(positions), "positions")


def answers(path, shown):
    """Log-probabilities of answers whose prompts `bmn classify` and `bmn extract` have shown: one JSON line each."""
    config, state, _ = demo_model(path)
    rounded = {name: w.to(torch.bfloat16).float() for name, w in state.items()}
    model = build(config, torch.float32)
    model.load_state_dict(rounded, strict=False)
    narrow = build(config, torch.bfloat16)
    narrow.load_state_dict(rounded, strict=False)

    def logprobs(model, prompt, ids):
        logits = torch.from_numpy(run(model, [prompt + ids])[len(prompt) - 1 : -1]).double()
        return torch.log_softmax(logits, -1)[torch.arange(len(ids)), ids].numpy()

    facts = []
    for line in Path(shown).read_text().splitlines():
        prompt = json.loads(line)["prompts"][0]
        candidates = prompt.get("candidates") or [{"label": "answer", "ids": prompt["answer_ids"]}]
        found = {"purpose": prompt["purpose"], "prompt_ids": prompt["prompt_ids"], "answers": []}
        for candidate in candidates:
            truth = logprobs(model, prompt["prompt_ids"], candidate["ids"])
            difference = logprobs(narrow, prompt["prompt_ids"], candidate["ids"]) - truth
            figures = {"logprobs": truth.tolist(), "bf16": difference.tolist()}
            found["answers"].append({"label": candidate["label"], "ids": candidate["ids"]} | figures)
        facts.append(found)
    (GOLDEN / "demo" / "answers.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tiny", "gguf", "demo", "answers"])
    parser.add_argument("gguf", nargs="?")
    parser.add_argument("shown", nargs="?", help="output of `bmn classify --show-prompt` and `bmn extract --show-prompt`")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "tiny":
        tiny()
    elif arguments.what == "gguf":
        quantised()
    elif arguments.gguf is None:
        parser.error("demo needs the GGUF file")
    elif arguments.what == "answers":
        answers(arguments.gguf, arguments.shown)
    else:
        demo(arguments.gguf)

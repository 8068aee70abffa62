"""A model so small that a step of training takes milliseconds, with data and two configurations: tiny.py FOLDER TOKENIZER."""
import json
import pathlib
import random
import shutil
import struct
import sys

folder, tokenizer = map(pathlib.Path, sys.argv[1:3])
hidden, inner, layers, heads, kv_heads, head, vocab = 32, 48, 2, 4, 2, 8, 340
model = folder / "model"
model.mkdir(parents=True, exist_ok=True)
config = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": hidden, "intermediate_size": inner,
    "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
    "vocab_size": vocab, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "sliding_window": None,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "hidden_act": "silu", "torch_dtype": "bfloat16",
}
(model / "config.json").write_text(json.dumps(config))
shutil.copyfile(tokenizer, model / "tokenizer.model")

shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden], "model.norm.weight": [hidden]}
for layer in range(layers):
    parts = {
        "self_attn.q_proj": [heads * head, hidden], "self_attn.k_proj": [kv_heads * head, hidden],
        "self_attn.v_proj": [kv_heads * head, hidden], "self_attn.o_proj": [hidden, heads * head],
        "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden], "mlp.down_proj": [hidden, inner],
        "input_layernorm": [hidden], "post_attention_layernorm": [hidden],
    }
    shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
rng = random.Random(7)
header, data = {}, bytearray()
for name, shape in shapes.items():
    start = len(data)
    for _ in range(shape[0] * (shape[1] if len(shape) > 1 else 1)):
        value = 1.0 if len(shape) == 1 else rng.gauss(0, 0.1)
        data += struct.pack("<f", value)[2:]  # bf16 is the upper half of f32
    header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, len(data)]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)

with open(folder / "train.jsonl", "w") as out:
    for i in range(12):
        said = [("user", f"Note {i}: take aspirin."), ("assistant", ["Drug: aspirin", "Drug: None"][i % 2])]
        out.write(json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}) + "\n")
text = (
    "max_tokens = 128\n[[train]]\nfile = 'train.jsonl'\n[tuning]\nmethod = 'lora'\nrank = 4\nalpha = 8.0\n"
    "[optimiser]\nrate = 2e-2\n[run]\nepochs = 2\nbatch = 4\npass_tokens = 256\nsave_every = 4\n"
)
for name in "train", "again":
    (folder / f"{name}.toml").write_text(f"model = 'model'\noutput = 'run-{name}'\n{text}")

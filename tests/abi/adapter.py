"""A LoRA adapter of random numbers in PEFT's layout, for the tests: adapter.py FOLDER SEED LAYERS HIDDEN_SIZE."""
import json
import pathlib
import random
import struct
import sys

folder, seed, layers, hidden = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5])
rank = 4
rng = random.Random(seed)
header, data = {}, bytearray()
for layer in range(layers):
    for name, shape in (("lora_A", [rank, hidden]), ("lora_B", [hidden, rank])):
        values = [rng.gauss(0, 0.05) for _ in range(shape[0] * shape[1])]
        start = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        key = f"base_model.model.model.layers.{layer}.self_attn.q_proj.{name}.weight"
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
folder.mkdir(parents=True, exist_ok=True)
(folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], "bias": "none"}
(folder / "adapter_config.json").write_text(json.dumps(config))

"""Makes tests/golden/NAME/training: gradients of every parameter and losses of ten steps, by torch, transformers and peft.

    python tests/python/make_training_golden.py

Reads the models that make_golden.py made. What it writes is described in tests/golden/README.md.
"""

import json
import shutil

import torch
from make_golden import GOLDEN, TINY, build, config_of
from safetensors.torch import load_file, save_file

RATE = 1e-3


def batch(name):
    """The golden sequences; each row predicts the next token, but for the first five rows of each sequence."""
    sequences = json.loads((GOLDEN / name / "case.json").read_text())["sequences"]
    return [(ids, [ids[i + 1] if 5 <= i < len(ids) - 1 else -100 for i in range(len(ids))]) for ids in sequences]


def loss(model, examples):
    total, count = 0.0, 0
    for ids, labels in examples:
        logits = model(torch.tensor([ids])).logits[0]
        total = total + torch.nn.functional.cross_entropy(
            logits.float() if logits.dtype == torch.bfloat16 else logits, torch.tensor(labels), reduction="sum", ignore_index=-100
        )
        count += sum(label != -100 for label in labels)
    return total / count


def gradients(model, examples):
    value = loss(model, examples)
    value.backward()
    return value.item(), {n: p.grad.double() for n, p in model.named_parameters() if p.requires_grad}


def open_model(name, dtype):
    model = build(config_of(TINY[name]), dtype)
    state = load_file(GOLDEN / name / "model" / "model.safetensors")
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model.to(dtype)


def open_adapted(name, dtype):
    from peft import PeftModel

    folder = GOLDEN / name / "all_linear_r4"
    return PeftModel.from_pretrained(open_model(name, dtype), folder, is_trainable=True, autocast_adapter_dtype=False).to(dtype)


def fresh(model):
    """The model with every B of its adapter 0, as LoRA begins."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    return model


def losses(model, examples, decay):
    """Losses of ten steps of AdamW in float32, clipped to a norm of 1; the model computes with matrices rounded to bf16."""
    tuned = [p for p in model.parameters() if p.requires_grad]
    masters = [p.detach().float().clone().requires_grad_() for p in tuned]
    groups = [{"params": [m for m in masters if m.dim() > 1], "weight_decay": decay}]
    groups.append({"params": [m for m in masters if m.dim() == 1], "weight_decay": 0.0})
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    values, norms = [], []
    for _ in range(10):
        for p, master in zip(tuned, masters):
            p.data.copy_(master.detach().bfloat16() if p.dim() > 1 else master.detach())
        model.zero_grad()
        value = loss(model, examples)
        value.backward()
        for p, master in zip(tuned, masters):
            master.grad = p.grad.float().clone()
        norms.append(torch.nn.utils.clip_grad_norm_(masters, 1.0).item())
        optimiser.step()
        values.append(value.item())
    return values, norms


def make(name, kind, opened):
    folder = GOLDEN / name / "training"
    folder.mkdir(exist_ok=True)
    examples = batch(name)
    value, exact = gradients(opened(name, torch.float64), examples)
    _, rounded = gradients(opened(name, torch.bfloat16), examples)
    short = {n.replace(".default", ""): n for n in exact}
    save_file({s: exact[n].float().contiguous() for s, n in short.items()}, folder / f"{kind}.safetensors")
    error = {s: {"max_abs": (rounded[n] - exact[n]).abs().max().item(), "mean_abs": (rounded[n] - exact[n]).abs().mean().item()} for s, n in short.items()}
    curve, norms = losses(opened(name, torch.float32), examples, 0.1)
    return {"loss": value, "bf16": error, "losses": curve, "norms": norms}


def main():
    torch.set_num_threads(1)
    for name in ["mistral_window", "llama_tied_odd"]:
        shutil.rmtree(GOLDEN / name / "training", ignore_errors=True)
        facts = {"labels": [labels for _, labels in batch(name)], "full": make(name, "full", open_model)}
        if TINY[name].get("adapters"):
            facts["lora"] = make(name, "lora", open_adapted)
            # What transformers and peft themselves lose by computing in bf16.
            facts["lora"]["bf16_losses"] = losses(open_adapted(name, torch.bfloat16), batch(name), 0.1)[0]
            curve, norms = losses(fresh(open_adapted(name, torch.float32)), batch(name), 0.1)
            facts["fresh"] = {"losses": curve, "norms": norms}
        (GOLDEN / name / "training" / "case.json").write_text(json.dumps(facts, indent=1) + "\n")
        print(name, facts["full"]["losses"], facts.get("lora", {}).get("losses"))


if __name__ == "__main__":
    main()

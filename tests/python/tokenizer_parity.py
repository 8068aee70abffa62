#!/usr/bin/env python3
"""Token ids by other implementations, to compare ours with.

    tokenizer_parity.py golden --mistral tokenizer.model.v1 --gguf SmolLM2.gguf
        writes the committed golden ids of tests/data/tokenizer_texts.jsonl
    tokenizer_parity.py json --mistral tokenizer.model.v1 --gguf SmolLM2.gguf --out DIR
        writes both as tokenizer.json, for checks of that reader
    tokenizer_parity.py live --model M --bmn target/release/bmn --corpora DIR [--chars N]
        compares `bmn tokenize` with the other implementation on every text of the corpora, line by line

The Mistral model runs through `sentencepiece`, the GGUF's through `tokenizers`, built here from the vocabulary and merges in
the file. Neither sees any of our code. Needs: sentencepiece, tokenizers, gguf (PyPI).
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
TEXTS = DATA / "tokenizer_texts.jsonl"


def sentencepiece_encoder(path):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return model.encode


def gguf_tokenizer(path):
    from gguf import GGUFReader
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    fields = GGUFReader(str(path)).fields
    read = lambda name: fields["tokenizer.ggml." + name].contents()
    if read("model") != "gpt2" or read("pre") != "smollm":
        sys.exit(f"{path}: expected a gpt2 tokenizer with smollm pre-tokens")
    vocab = {token: i for i, token in enumerate(read("tokens"))}
    merges = [tuple(line.split(" ")) for line in read("merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # The control tokens are not added to it: text that spells them is text.
    return tokenizer


def mistral_json(path):
    """The model as the tokenizer.json of Mistral v0.1: merges from the pieces, spaces by a normaliser."""
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, models, normalizers

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece, i in vocab.items():
        if model.is_byte(i) or model.is_control(i) or model.is_unknown(i):
            continue
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        splits = [(a, b) for a, b in splits if a in vocab and b in vocab]
        merges += [(-model.get_score(i), vocab[a], vocab[b], a, b) for a, b in splits]
    merges.sort()
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[m[3:] for m in merges], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return tokenizer


def texts_of(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").split("\n") if line]


def golden(args):
    rows = {}
    if args.mistral:
        rows["mistral_v1"] = sentencepiece_encoder(args.mistral)
    if args.gguf:
        tokenizer = gguf_tokenizer(args.gguf)
        rows["smollm2"] = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    for name, encode in rows.items():
        lines = [json.dumps(encode(text), separators=(",", ":")) for text in texts_of(TEXTS)]
        (DATA / f"tokenizer_ids_{name}.jsonl").write_text("\n".join(lines) + "\n")


def to_json(args):
    args.out.mkdir(parents=True, exist_ok=True)
    gguf_tokenizer(args.gguf).save(str(args.out / "smollm2.json"))
    mistral_json(args.mistral).save(str(args.out / "mistral_v1.json"))


def live(args):
    if args.model.suffix == ".gguf":
        tokenizer = gguf_tokenizer(args.model)
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    else:
        encode = sentencepiece_encoder(args.model)
    texts, total = texts_of(TEXTS), 0
    for file in sorted(p for p in args.corpora.rglob("*") if p.suffix in {".txt", ".tsv", ".xml", ".jsonl", ".json", ".a1", ".ann"}):
        for line in file.read_text(encoding="utf-8", errors="ignore").split("\n"):
            # U+2581 is the one character where ours differs from sentencepiece, on purpose.
            if line and "\u2581" not in line and total < args.chars:
                texts.append(line)
                total += len(line)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"id": i, "text": text}) + "\n")
        file.flush()
        out = subprocess.run([args.bmn, "tokenize", "--model", args.model, file.name], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    if len(rows) != len(texts):
        sys.exit(f"expected {len(texts)} rows of bmn tokenize, found {len(rows)}")
    wrong = [i for i, (row, text) in enumerate(zip(rows, texts)) if row["ids"] != encode(text)]
    print(f"{len(texts)} texts, {total} characters, {len(wrong)} differ" + (f", first in row {wrong[0]}" if wrong else ""))
    sys.exit(1 if wrong else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, run in (("golden", golden), ("json", to_json), ("live", live)):
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        if name == "live":
            verb.add_argument("--model", type=Path, required=True)
            verb.add_argument("--bmn", type=Path, required=True)
            verb.add_argument("--corpora", type=Path, required=True)
            verb.add_argument("--chars", type=int, default=20_000_000)
        else:
            verb.add_argument("--mistral", type=Path, required=name == "json")
            verb.add_argument("--gguf", type=Path, required=name == "json")
        if name == "json":
            verb.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()

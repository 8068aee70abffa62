"""What a user would pick instead, measured on the same weights: llama.cpp and transformers.

usage: peers.py llama MODEL.gguf WORKLOAD.json THREADS
       peers.py transformers HF_FOLDER WORKLOAD.json THREADS
       peers.py torch - WORKLOAD.json THREADS

`matrix` (torch only) is the machine's bf16 matrix rate as oneDNN reaches it.

Reads one measurement name a line from stdin and answers one JSON line each: {"what", "seconds": [...], "rss_mib"}.
prompt   one pass over `prompt` (ids), last logits only
decode   64 single-token steps after that prompt, seconds per token
choice   per document: pick one of its options, prefix reused
spans    per document: verbatim spans or None per label, under a grammar that allows nothing else
The grammars are those of the library's own users: GBNF for llama.cpp, llguidance's substring for transformers.
"""

import json
import os
import sys
import time

DECODE_STEPS = 64


def rss_mib():
    with open("/proc/self/status") as status:
        line = next(x for x in status if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def gbnf_literal(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def words(text):
    """Byte-free word starts and ends: maximal runs of non-space characters, split at line breaks."""
    return [line.split() for line in text.splitlines() if line.split()]


def gbnf_spans(text, labels):
    """label: span ... span | None, one line per label; a span is a run of words of one line of the text."""
    rules, starts = [], []
    for n, line in enumerate(words(text)):
        for k in range(len(line) - 1, -1, -1):
            rest = f' ( " " w{n}x{k + 1} )?' if k + 1 < len(line) else ""
            rules.append(f"w{n}x{k} ::= {gbnf_literal(line[k])}{rest}")
            starts.append(f"w{n}x{k}")
    rules.append("span ::= " + " | ".join(starts))
    rules.append('spans ::= span ( " ... " span )*')
    lines = ' "\\n" '.join(f"{gbnf_literal(label + ': ')} ( \"None\" | spans )" for label in labels)
    return "root ::= " + lines + "\n" + "\n".join(rules)


def lark_spans(text, labels):
    """The same language for llguidance: one terminal per answer line, since its lexer is greedy."""
    parts = ['start: ' + ' "\\n" '.join(f"line{i}" for i in range(len(labels)))]
    for i, label in enumerate(labels):
        parts.append(f"line{i}: {json.dumps(label + ': ')} answer")
    parts.append('answer: "None" | SPAN')
    parts.append("SPAN: WORDS (/ \\.\\.\\. / WORDS)*")
    parts.append("WORDS: %regex " + json.dumps({"substring_words": text}))
    return "\n".join(parts)


class Llama:
    def __init__(self, model, load, threads):
        import llama_cpp

        self.api = llama_cpp
        # The Q4_1 file widened to bf16, so that all engines compute with the same weights.
        target = load["bf16_gguf"]
        if not os.path.exists(target):
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype, params.allow_requantize, params.nthread = 32, True, threads
            if llama_cpp.llama_model_quantize(model.encode(), target.encode(), params) != 0:
                raise SystemExit("llama.cpp could not widen the model to bf16")
        self.llm = llama_cpp.Llama(target, n_ctx=2560, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
        self.load = load
        self.grammars = {}

    def fresh(self):
        self.llm.reset()
        self.llm._ctx.kv_cache_clear()

    def prompt(self):
        self.fresh()
        start = time.perf_counter()
        self.llm.eval(self.load["prompt"])
        return [time.perf_counter() - start]

    def decode(self):
        self.prompt()
        start = time.perf_counter()
        for _ in range(DECODE_STEPS):
            self.llm.eval([self.load["prompt"][0]])
        return [(time.perf_counter() - start) / DECODE_STEPS]

    def constrained(self, documents, grammar_of):
        seconds = []
        for document in documents:
            start = time.perf_counter()
            grammar = self.api.LlamaGrammar.from_string(grammar_of(document), verbose=False)
            self.llm.create_completion(document["prompt_ids"], grammar=grammar, temperature=0, max_tokens=160)
            seconds.append(time.perf_counter() - start)
        return seconds

    def choice(self):
        return self.constrained(
            self.load["choice"], lambda d: "root ::= " + " | ".join(gbnf_literal(o) for o in d["options"])
        )

    def spans(self):
        return self.constrained(self.load["spans"], lambda d: gbnf_spans(d["text"], d["labels"]))


class Transformers:
    def __init__(self, model, load, threads):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(load["gguf"]), gguf_file=os.path.basename(load["gguf"]))
        import llguidance
        import llguidance.hf
        import llguidance.torch

        self.llg = llguidance
        self.ll_tokenizer = llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self.model.config.vocab_size)
        self.load = load

    def step(self, ids, cache):
        out = self.model(self.torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1], out.past_key_values

    def prompt(self):
        start = time.perf_counter()
        self.step(self.load["prompt"], None)
        return [time.perf_counter() - start]

    def decode(self):
        _, cache = self.step(self.load["prompt"], None)
        start = time.perf_counter()
        for _ in range(DECODE_STEPS):
            _, cache = self.step(self.load["prompt"][:1], cache)
        return [(time.perf_counter() - start) / DECODE_STEPS]

    def constrained(self, documents, grammar_of):
        seconds = []
        for document in documents:
            start = time.perf_counter()
            matcher = self.llg.LLMatcher(self.ll_tokenizer, grammar_of(document))
            mask = self.llg.torch.allocate_token_bitmask(1, self.model.config.vocab_size)
            logits, cache = self.step(document["prompt_ids"], None)
            for _ in range(160):
                self.llg.torch.fill_next_token_bitmask(matcher, mask)
                logits = logits.float()[None]
                self.llg.torch.apply_token_bitmask_inplace(logits, mask)
                token = int(logits.argmax())
                if not matcher.consume_token(token) or matcher.is_stopped():
                    break
                logits, cache = self.step([token], cache)
            if matcher.is_error():
                raise SystemExit("llguidance: " + matcher.get_error())
            seconds.append(time.perf_counter() - start)
        return seconds

    def choice(self):
        return self.constrained(
            self.load["choice"],
            lambda d: self.llg.grammar_from("lark", "start: " + " | ".join(json.dumps(o) for o in d["options"])),
        )

    def spans(self):
        return self.constrained(
            self.load["spans"], lambda d: self.llg.grammar_from("lark", lark_spans(d["text"], d["labels"]))
        )


class Torch:
    """The machine's bf16 matrix rate as oneDNN reaches it: 512 rows through a 7B feed-forward shape."""

    def __init__(self, _model, _load, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.a = torch.randn(512, 4096).bfloat16()
        self.b = torch.randn(14336, 4096).bfloat16()

    def matrix(self):
        with self.torch.no_grad():
            start = time.perf_counter()
            self.a @ self.b.T
            return [time.perf_counter() - start]


def main():
    kind, model, workload, threads = sys.argv[1:5]
    with open(workload) as file:
        load = json.load(file)
    peer = {"llama": Llama, "transformers": Transformers, "torch": Torch}[kind](model, load, int(threads))
    print(json.dumps({"ready": kind}), flush=True)
    for line in sys.stdin:
        what = line.strip()
        seconds = getattr(peer, what)()
        print(json.dumps({"what": what, "seconds": seconds, "rss_mib": rss_mib()}), flush=True)


if __name__ == "__main__":
    main()

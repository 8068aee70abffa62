#!/usr/bin/env python3
"""Times general constraint engines on the task of `engine/examples/span_constraint.rs`, one thread.

    peers_constraint.py TEXTS.json TOKENIZER...

TEXTS.json is what `span_constraint --texts` writes; a TOKENIZER is a SentencePiece `tokenizer.model` or a GGUF with a
GPT-2 vocabulary. The grammar is `label: span ... span` with spans cut from the text by words or by characters: llguidance's
`substring_words` and `substring_chars`, xgrammar's `Substring`. Per text: set-up until the first mask is there, then mask and
advance per token over random answers. The times include the call from Python, some microseconds. Output as there: a
table on stderr, JSON lines on stdout.
"""
import json, os, random, re, sys, time

ANSWERS, REPEATS = 20, 3
# Longer texts would take xgrammar minutes each.
LONGEST = 4000


def vocabulary(path):
    """Token bytes by id (empty for control tokens), id of the end token."""
    if path.endswith(".gguf"):
        from gguf import GGUFReader

        fields = GGUFReader(path).fields
        printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
        alphabet = {chr(b): b for b in printable}
        alphabet.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)})
        kinds = fields["tokenizer.ggml.token_type"].contents()
        tokens = []
        for text, kind in zip(fields["tokenizer.ggml.tokens"].contents(), kinds):
            tokens.append(bytes(alphabet[c] for c in text) if kind == 1 else b"")
        return tokens, fields["tokenizer.ggml.eos_token_id"].contents()
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=path)
    tokens = []
    for i in range(model.vocab_size()):
        if model.is_control(i) or model.is_unknown(i):
            tokens.append(b"")
        elif model.is_byte(i):
            tokens.append(bytes([int(model.id_to_piece(i)[3:5], 16)]))
        else:
            tokens.append(model.id_to_piece(i).replace("\u2581", " ").encode())
    return tokens, model.eos_id()


def words(text):
    return re.findall(r"\s+|\w+|[^\w\s]", text)


class LlGuidance:
    def __init__(self, tokens, eos):
        import llguidance, llguidance.numpy, numpy

        self.module, self.numpy = llguidance.numpy, numpy
        self.matcher_of = llguidance.LLMatcher

        class Wrapped:
            eos_token_id, bos_token_id, special_token_ids = eos, None, [i for i, t in enumerate(tokens) if not t]

            def __init__(self):
                self.tokens = tokens

            def __call__(self, text):
                raise NotImplementedError

        wrapped = Wrapped()
        ids = {t: i for i, t in reversed(list(enumerate(tokens))) if t}

        def greedy(text):
            data, out = text.encode() if isinstance(text, str) else text, []
            while data:
                size = next(n for n in range(min(len(data), 32), 0, -1) if data[:n] in ids)
                out.append(ids[data[:size]])
                data = data[size:]
            return out

        Wrapped.__call__ = lambda self, text: greedy(text)
        self.tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(wrapped), n_vocab=len(tokens))
        self.vocab = len(tokens)

    def start(self, text, mode):
        part = json.dumps({f"substring_{mode}": text})
        grammar = 'start: ANSWER\nANSWER: "Problem: " SPAN (" ... " SPAN)*\nSPAN: %regex ' + part
        self.matcher = self.matcher_of(self.tokenizer, grammar)
        assert not self.matcher.is_error(), self.matcher.get_error()
        self.mask = self.module.allocate_token_bitmask(1, self.vocab)

    def fill(self):
        self.module.fill_next_token_bitmask(self.matcher, self.mask, 0)
        return self.mask.view(self.numpy.uint8)

    def advance(self, token):
        self.matcher.consume_token(token)


class XGrammar:
    def __init__(self, tokens, eos):
        import numpy, xgrammar

        self.xg, self.numpy = xgrammar, numpy
        raw = [t if t else f"<control {i}>".encode() for i, t in enumerate(tokens)]
        self.info = xgrammar.TokenizerInfo(raw, stop_token_ids=[eos])

    def start(self, text, mode):
        chunks = words(text) if mode == "words" else list(text)
        span = "Substring(" + ", ".join(json.dumps(c, ensure_ascii=False) for c in chunks) + ")"
        grammar = f'root ::= "Problem: " span (" ... " span)*\nspan ::= {span}'
        compiler = self.xg.GrammarCompiler(self.info, max_threads=1, cache_enabled=False)
        self.matcher = self.xg.GrammarMatcher(compiler.compile_grammar(grammar))
        self.mask = self.xg.allocate_token_bitmask(1, self.info.vocab_size)

    def fill(self):
        self.matcher.fill_next_token_bitmask(self.mask)
        return self.mask.numpy().view(self.numpy.uint8)

    def advance(self, token):
        self.matcher.accept_token(token)


def run(engine, text, mode, eos):
    setups, masks, advances, chooser = [], [], [], random.Random(1)
    for i in range(ANSWERS):
        if i < REPEATS or i % 4 == 0:
            begin = time.perf_counter()
            engine.start(text, mode)
            engine.fill()
            setups.append((time.perf_counter() - begin) * 1e3)
        else:
            engine.matcher.reset()
        for _ in range(40):
            begin = time.perf_counter()
            mask = engine.fill()
            spent = time.perf_counter() - begin
            ids = engine.numpy.flatnonzero(engine.numpy.unpackbits(mask.reshape(-1), bitorder="little"))
            ids = ids[ids != eos]
            if not len(ids):
                break
            token = int(chooser.choice(ids))
            begin = time.perf_counter()
            engine.advance(token)
            advances.append((time.perf_counter() - begin) * 1e6)
            masks.append(spent * 1e6)
    steps = [mask + advance for mask, advance in zip(masks, advances)]
    at = lambda times, q: sorted(times)[round((len(times) - 1) * q)]
    return {"setup_ms": at(setups, 0.5), "p50_us": at(masks, 0.5), "p99_us": at(masks, 0.99),
            "mean_us": sum(masks) / len(masks), "max_us": max(masks), "advance_p50_us": at(advances, 0.5),
            "advance_p99_us": at(advances, 0.99), "step_p50_us": at(steps, 0.5), "step_p99_us": at(steps, 0.99),
            "tokens": len(steps)}


def main():
    texts = [text for text in json.load(open(sys.argv[1])) if len(text) <= LONGEST]
    print(f"{'engine':<12} {'tokenizer':<24} {'mode':>5} {'chars':>6} | {'setup ms':>9} | "
          "p50 p99 µs of the mask, of advance, of both", file=sys.stderr)
    for path in sys.argv[2:]:
        tokens, eos = vocabulary(path)
        for name, kind in [("llguidance", LlGuidance), ("xgrammar", XGrammar)]:
            engine = kind(tokens, eos)
            for mode in ["words", "chars"]:
                for text in texts:
                    if name == "xgrammar" and len(text) > 8000:
                        continue  # minutes and gigabytes
                    row = {"engine": name, "tokenizer": os.path.basename(path), "mode": mode, "chars": len(text),
                           **run(engine, text, mode, eos)}
                    print(json.dumps(row), flush=True)
                    columns = " | ".join(f"{row[f'{what}p50_us']:>7.2f} {row[f'{what}p99_us']:>7.2f}"
                                         for what in ["", "advance_", "step_"])
                    print(f"{name:<12} {row['tokenizer'][:24]:<24} {mode:>5} {len(text):>6} | {row['setup_ms']:>9.2f} | "
                          f"{columns}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

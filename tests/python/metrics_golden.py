#!/usr/bin/env python3
"""Random gold and answers, and what seqeval, scikit-learn and scipy say of them: tests/data/metrics.json.

    metrics_golden.py > tests/data/metrics.json

`eval/tests/golden.rs` compares. Needs: numpy, scipy, scikit-learn, seqeval (PyPI).
"""
import json
import sys
import warnings
from collections import Counter

import numpy as np
from scipy.stats import bootstrap, pearsonr, spearmanr
from seqeval.metrics import f1_score as entity_f1
from seqeval.metrics import precision_score, recall_score
from seqeval.scheme import IOB2
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, precision_recall_fscore_support

warnings.filterwarnings("ignore")


def random_spans(rng, length, labels, share):
    """Spans of tokens that do not overlap: [label, start, end]."""
    spans, at = [], 0
    while at < length:
        if rng.random() < share:
            end = min(length, at + int(rng.integers(1, 4)))
            spans.append([labels[int(rng.integers(len(labels)))], at, end])
            at = end
        else:
            at += 1
    return spans


def disturb(rng, spans, length, labels):
    """Answers that are partly right: some dropped, moved, relabelled, some new where there is room."""
    out = []
    for label, start, end in spans:
        fate = rng.random()
        if fate < 0.5:
            out.append([label, start, end])
        elif fate < 0.65 and end - start > 1:
            out.append([label, start, end - 1])
        elif fate < 0.8:
            out.append([labels[int(rng.integers(len(labels)))], start, end])
    taken = {i for _, start, end in out for i in range(start, end)}
    for span in random_spans(rng, length, labels, 0.1):
        if not taken & set(range(span[1], span[2])):
            out.append(span)
    return sorted(out, key=lambda span: span[1])


def tags(spans, length):
    line = ["O"] * length
    for label, start, end in spans:
        line[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return line


def spans_case(rng, n, labels):
    words = ["ab", "cd", "ef", "gh"]
    documents = []
    for i in range(n):
        length = int(rng.integers(5, 30))
        gold = random_spans(rng, length, labels, 0.2)
        text = [words[int(rng.integers(4))] for _ in range(length)]
        documents.append({"tokens": text, "gold": gold, "given": disturb(rng, gold, length, labels)})
    true = [tags(d["gold"], len(d["tokens"])) for d in documents]
    pred = [tags(d["given"], len(d["tokens"])) for d in documents]
    arguments = {"mode": "strict", "scheme": IOB2}
    # Words: one binary question per label and word.
    word_f1 = []
    for label in labels:
        has = [[tag[2:] == label for line in side for tag in line] for side in (true, pred)]
        word_f1.append(f1_score(*has))
    # Strings, as evaluation.py of the reference: bags per document and label, lower-cased; both sides hold each string once.
    counts = np.zeros(3)
    for d in documents:
        for label in labels:
            bags = [Counter({" ".join(d["tokens"][s:e]).lower() for of, s, e in d[side] if of == label})
                    for side in ("given", "gold")]
            counts += [bags[0].total(), bags[1].total(), (bags[0] & bags[1]).total()]
    strict = lambda index: entity_f1([true[i] for i in index], [pred[i] for i in index], **arguments)
    interval = bootstrap((np.arange(n),), strict, n_resamples=1000, vectorized=False, method="percentile",
                         random_state=7).confidence_interval
    return {
        "documents": documents,
        "labels": labels,
        "expected": {
            "entity_f1": entity_f1(true, pred, **arguments),
            "precision": precision_score(true, pred, **arguments),
            "recall": recall_score(true, pred, **arguments),
            "entity_macro": entity_f1(true, pred, average="macro", **arguments),
            "untyped_f1": entity_f1([[t[:1] + "-X" if t != "O" else t for t in line] for line in true],
                                    [[t[:1] + "-X" if t != "O" else t for t in line] for line in pred], **arguments),
            "string_f1": 2 * counts[2] / (counts[0] + counts[1]),
            "word_f1": float(np.mean(word_f1)),
            "interval": [interval.low, interval.high],
        },
    }


def alternatives_case(rng, n):
    """BC2GM's scorer by its definition: exact places of `GENE.eval`, or of `ALTGENE.eval` where the two share a character."""
    documents, tp, fp, fn = [], 0, 0, 0
    for i in range(n):
        length = int(rng.integers(8, 30))
        gold = random_spans(rng, length, ["g"], 0.15)
        others = {tuple(span) for span in random_spans(rng, length, ["g"], 0.05)}
        for _, start, end in gold:
            for _ in range(int(rng.integers(0, 3))):
                a, b = start + int(rng.integers(-2, 2)), end + int(rng.integers(-1, 3))
                if 0 <= a < b <= length:
                    others.add(("g", a, b))
        others = sorted(list(span) for span in others if list(span) not in gold)
        pool = [span for span in gold if rng.random() < 0.5] + [span for span in others if rng.random() < 0.4]
        pool += [span for span in random_spans(rng, length, ["g"], 0.1) if span not in pool]
        given = sorted(pool)
        documents.append({"gold": gold, "alternatives": others, "given": given})
        # Of inclusive ends, as in the files.
        gold, others, given = ([(s, e - 1) for _, s, e in spans] for spans in (gold, others, given))
        for start, end in gold:
            near = {(s, e) for s, e in others if max(s, start) <= min(e, end)}
            found = (start, end) in given or bool(near & set(given))
            tp, fn = tp + found, fn + (not found)
        fp += sum(span not in gold and span not in others for span in given)
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return {"documents": documents, "expected": {"counts": [tp, fp, fn], "f1": 2 / (1 / precision + 1 / recall)}}


def choices_case(rng, n, labels):
    names = labels + ["none"]
    gold = rng.choice(names, n, p=[0.5 / len(labels)] * len(labels) + [0.5])
    raw = rng.random((n, len(names))) + (gold[:, None] == np.array(names)) * 0.6
    p = raw ** 3 / (raw ** 3).sum(axis=1, keepdims=True)
    given = np.array(names)[p.argmax(axis=1)]
    top, right = p.max(axis=1), given == gold
    share, mean = calibration_curve(right, top, n_bins=10, strategy="uniform")
    sizes = np.bincount(np.minimum((top * 10).astype(int), 9), minlength=10)
    sizes = sizes[sizes > 0]
    order = np.argsort(-top, kind="stable")
    curve = np.cumsum(right[order]) / np.arange(1, n + 1)
    arguments = {"labels": labels, "zero_division": 0}
    onehot = (gold[:, None] == np.array(names)).astype(float)
    return {
        "names": names,
        "gold": gold.tolist(),
        "probabilities": p.tolist(),
        "expected": {
            "accuracy": accuracy_score(gold, given),
            "micro_f1": f1_score(gold, given, average="micro", **arguments),
            "macro_f1": f1_score(gold, given, average="macro", **arguments),
            "per_label": [list(map(float, row[:3])) for row in zip(*precision_recall_fscore_support(gold, given, **arguments))],
            "ece": float((sizes / n * np.abs(share - mean)).sum()),
            "brier": float(((p - onehot) ** 2).sum(axis=1).mean()),
            "risk": float((1 - curve).mean()),
        },
    }


def classes_case(rng, n, labels):
    gold = rng.random((n, len(labels))) < 0.25
    gold[~gold.any(axis=1), 0] = True
    p = np.clip(rng.random(gold.shape) * 0.8 + gold * 0.3, 0, 1)
    given = p > 0.5
    samples = precision_recall_fscore_support(gold, given, average="samples", zero_division=0)
    return {
        "labels": labels,
        "gold": gold.tolist(),
        "probabilities": p.tolist(),
        "expected": {
            # The means over examples are scikit-learn's; their F1 is that of BLUE's eval_hoc.py.
            "example_f1": 2 * samples[0] * samples[1] / (samples[0] + samples[1]),
            "micro_f1": f1_score(gold, given, average="micro"),
            "macro_f1": f1_score(gold, given, average="macro"),
            "brier": brier_score_loss(gold.ravel(), p.ravel()),
        },
    }


def scores_case(rng, n):
    gold = np.round(rng.random(n) * 4 * 5) / 5
    expected = np.clip(gold + rng.normal(0, 1.0, n), 0, 4).round(3)
    integer = np.round(expected)
    return {
        "gold": gold.tolist(),
        "expected_scores": expected.tolist(),
        "scores": [int(x) for x in integer],
        "expected": {
            "pearson": pearsonr(expected, gold)[0],
            "pearson_integer": pearsonr(integer, gold)[0],
            "spearman": spearmanr(expected, gold)[0],
        },
    }


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(v) if key != "expected" else v for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return value


def main():
    rng = np.random.default_rng(42)
    cases = {
        "spans": [spans_case(rng, n, labels) for n, labels in [(40, ["g"]), (60, ["a", "b", "c"])]],
        "choices": [choices_case(rng, n, labels) for n, labels in [(120, ["x", "y", "z"]), (80, ["yes"])]],
        "classes": [classes_case(rng, 60, ["a", "b", "c", "d"])],
        "scores": [scores_case(rng, 50), scores_case(rng, 7)],
        "alternatives": [alternatives_case(rng, 60)],
    }
    convert = lambda x: x.item() if hasattr(x, "item") else x
    json.dump(rounded(cases), sys.stdout, default=convert)
    print()


if __name__ == "__main__":
    main()

"""Both Spark jobs from end to end, in local clusters of two executors: failing notes, a killed executor, a killed job, and a
restart that redoes nothing. Run by tests/spark/run.sh."""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/spark"
sys.path.insert(0, str(EXAMPLE))
import bmn  # noqa: E402

SCHEMA = {"labels": ["drug"]}
FLAWED = {900: "TOO_LONG", 901: "INVALID_UTF8", 902: "NO_TEXT"}
NOTES = 16


def notes():
    """Ids to texts of bytes: short notes with characters of one to four bytes, an empty one, and those that fail."""
    drugs = ["metformin", "hydroxychloroquine", "naïve-dose β-blocker", "ibuprofen"]
    problems = ["Sjögren’s syndrome", "a rash", "oedème 🦵", "chest pain"]
    texts = {}
    for i in range(NOTES):
        lead = ["", "👩 ", "SpO₂ 94 %. ", "Ärztin: "][i % 4]
        text = f"{lead}{problems[i // 4 % 4]}: {drugs[i % 3 + i // 12]} {i} mg."
        texts[i] = text.encode()
    texts[800] = b""
    texts[900] = b"pain and " * 20_000
    texts[901] = b"pain \xff"
    texts[902] = None
    return texts


def write_notes(path, texts):
    """Parquet with a string column, whose bytes nobody checked."""
    binary = pa.array(list(texts.values()), pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers(), binary.null_count)
    path.mkdir(parents=True)
    pq.write_table(pa.table({"note_id": pa.array(list(texts), pa.int64()), "note_text": strings}), path / "notes.parquet")


def rows(path):
    return pq.read_table(path).to_pylist() if path.exists() else []


class Job:
    """A spark-submit under way."""

    last = None

    def __init__(self, options, kind, out, *more):
        spark = Path(pyspark.__file__).parent
        environment = {
            **os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_DIRS": str(options.work / "tmp"),
            "SPARK_WORKER_DIR": str(options.work / "worker"),
        }
        command = [
            spark / "bin/spark-submit", "--master", "local-cluster[2,2,1024]", "--conf", "spark.ui.enabled=false",
            "--conf", "spark.log.level=ERROR", "--conf", "spark.task.maxFailures=8", "--conf", "spark.sql.session.timeZone=UTC",
            "--driver-memory", "1g", "--conf", "spark.sql.shuffle.partitions=4",
        ]
        build = ROOT / "build/spark"
        if kind == "java":
            command += ["--jars", f"{build}/biomistral-nlu.jar,{options.jna}", "--class", "org.biomistral.nlu.spark.NoteNlp", build / "note-nlp.jar"]
        else:
            command += ["--py-files", EXAMPLE / "bmn.py", EXAMPLE / "note_nlp.py", "--library", options.library]
        command += ["--notes", options.notes, "--out", out, "--model", options.model, "--schema", options.schema, "--threads", "1", *more]
        self.log = options.work / f"{out.name}-{time.time_ns()}.log"
        self.out = out
        Job.last = self
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], env=environment, cwd=options.work, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )

    def children(self):
        """The executors: JVMs below the driver, found by their parents, each with its command line."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        ours, found = {self.process.pid}, True
        while found:
            found = {pid for pid, parent in parents.items() if parent in ours} - ours
            ours |= found
        return sorted(ours - {self.process.pid})

    def executors(self):
        def command(pid):
            try:
                return Path(f"/proc/{pid}/cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                return ""

        return [pid for pid in self.children() if "CoarseGrainedExecutorBackend" in command(pid)]

    def until(self, done, seconds=300):
        """Waits until `done()` is true and returns it; the job must still be running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = done()
            if answer:
                return answer
            assert self.process.poll() is None, self.text()
            time.sleep(0.1)
        raise AssertionError("too slow\n" + self.text())

    def text(self):
        return self.log.read_text()

    def waves(self):
        return self.text().count(" done\n")

    def finish(self, seconds=600):
        assert self.process.wait(seconds) == 0, self.text()
        return int(re.search(r"extracted now (\d+)", self.text())[1])

    def kill(self):
        """The driver first, so that nothing is started anew; then what it started."""
        below = self.children()
        for pid in [self.process.pid, *below]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def check(out, texts, oracle):
    """Every note has one result, flawed ones their reason; NOTE_NLP has the oracle's spans, each the text at its offset."""
    results = {}
    for row in rows(out / "results"):
        text = texts[row["note_id"]]
        if row["text_sha256"] == ("" if text is None else hashlib.sha256(text).hexdigest()):
            assert row["note_id"] not in results, "a note was done twice"
            results[row["note_id"]] = row
    assert results.keys() == texts.keys()
    for note, row in results.items():
        assert row["status"] == FLAWED.get(note, "OK"), (note, row["status"])
        assert row["offset_unit"] == "code_point"
        assert "pain" not in row["reason"]
    found = {}
    for row in rows(out / "note_nlp"):
        text, start = texts[row["note_id"]].decode(), int(row["offset"])
        term = row["lexical_variant"]
        assert text[start : start + len(term)] == term and term in row["snippet"] and row["snippet"] in text
        assert row["nlp_system"] == results[row["note_id"]]["system"] and row["note_nlp_concept_id"] == 0
        label = re.fullmatch(r"label=(.*),offset_unit=code_point", row["term_modifiers"])[1]
        key = row["note_id"], start, label
        assert key not in found
        found[key] = term
    assert found == oracle, "spans differ from those of one process"
    ids = [row["note_nlp_id"] for row in rows(out / "note_nlp")]
    assert len(set(ids)) == len(ids)
    return sorted(ids)


def single_process(options, texts):
    """What the library answers without Spark, note by note."""
    oracle = {}
    with bmn.Model(options.model, str(options.library), threads=2) as model:
        for note, text in texts.items():
            if note in FLAWED:
                continue
            [answer] = model.extract(SCHEMA, [text.decode()])
            assert answer.status == "OK"
            for span in answer.spans:
                oracle[note, span["start"], span["label"]] = span["text"]
    assert len(oracle) >= NOTES // 2 and any(not term.isascii() for term in oracle.values())
    return oracle


def module(options):
    """The ctypes module by itself: statuses, closing, and a check of offsets that can fail."""
    with bmn.Model(options.model, str(options.library), threads=2) as model:
        answers = model.extract(SCHEMA, ["👩 a rash", "pain \ud83d", "", "pain and " * 20_000, "a rash"])
        assert [a.status for a in answers] == ["OK", "INVALID_UTF8", "OK", "TOO_LONG", "OK"], answers
        assert "at 5" in answers[1].reason and "pain" not in answers[3].reason
        assert model.extract(SCHEMA, []) == []
        try:
            model.extract({"lables": []}, ["a"])
            raise AssertionError("expected an error")
        except bmn.NluError as error:
            assert "lables" in str(error)
    try:
        model.extract(SCHEMA, ["a"])
        raise AssertionError("expected an error")
    except ValueError as error:
        assert "closed" in str(error)
    model.close()
    try:
        bmn.Model("/nowhere", str(options.library))
        raise AssertionError("expected an error")
    except bmn.NluError as error:
        assert error.status == "NOT_FOUND"
    bmn.verbatim("👩 rash", {"start": 2, "end": 6, "text": "rash"})
    for wrong in ({"start": 3, "end": 7, "text": "rash"}, {"start": -4, "end": 6, "text": "rash"}, {"start": 2, "end": 5, "text": "rash"}):
        try:
            bmn.verbatim("👩 rash", wrong)
            raise AssertionError("expected an error")
        except bmn.NluError as error:
            assert "rash" not in str(error)


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "library", "jna", "work"):
        parser.add_argument(f"--{name}", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--jobs", default="java,python")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    options.schema = options.work / "schema.json"
    options.schema.write_text(json.dumps(SCHEMA))
    texts = notes()
    write_notes(options.work / "notes", texts)
    changed = {**texts, 0: texts[1], 803: texts[2]}
    write_notes(options.work / "changed", changed)

    def step(what, start=[time.monotonic()]):
        now = time.monotonic()
        print(f"{what}: {now - start[0]:.0f} s", flush=True)
        start[0] = now

    module(options)
    oracle = single_process(options, texts)
    step(f"{len(oracle)} spans from one process")
    same = {0: 1, 803: 2}
    oracle_changed = {key: term for key, term in oracle.items() if key[0] != 0}
    for note, like in same.items():
        oracle_changed.update({(note, *key[1:]): term for key, term in oracle.items() if key[0] == like})

    ids = []
    for kind in options.jobs.split(","):
        out, options.notes = options.work / kind, options.work / "notes"
        # An executor dies while it works: the notes it had are done by another, once.
        job = Job(options, kind, out, "--wave", "8", "--batch", "2", "--partitions", "4")
        job.until(lambda: job.waves() >= 1)
        victim = job.until(job.executors)[0]
        os.kill(victim, signal.SIGKILL)
        # Then the whole job dies; what its waves had finished stays.
        job.until(lambda: job.waves() >= 2)
        job.kill()
        kept = {row["note_id"] for row in rows(out / "results")}
        assert 0 < len(kept) < len(texts), len(kept)
        step(f"{kind}: an executor and then the job killed, {len(kept)} of {len(texts)} notes done")
        assert Job(options, kind, out, "--batch", "7").finish() == len(texts) - len(kept)
        ids.append(check(out, texts, oracle))
        assert ids[0] == ids[-1], "the twins differ"
        step(f"{kind}: the rest, after a restart")
        before = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*.parquet")}
        assert Job(options, kind, out).finish() == 0
        after = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*.parquet")}
        assert before == after
        check(out, texts, oracle)
        step(f"{kind}: a restart that redoes nothing")
        options.notes = options.work / "changed"
        assert Job(options, kind, out).finish() == len(same)
        check(out, changed, oracle_changed)
        step(f"{kind}: a changed and a new note")
    print("spark: ok")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    try:
        main()
    finally:
        if Job.last and Job.last.process.poll() is None:
            Job.last.kill()

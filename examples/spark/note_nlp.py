"""The PySpark twin of NoteNlp.java: the same options, the same results, the same NOTE_NLP rows; see docs/spark.md.

    spark-submit --py-files bmn.py note_nlp.py --notes IN --out DIR --model FILE --schema FILE --library libbiomistral_nlu.so

A worker process opens the model once and keeps it; what PySpark's workers cannot share among them is in docs/spark.md.
"""

import argparse
import hashlib
import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

RESULT = (
    "note_id BIGINT, text_sha256 STRING, system STRING, status STRING, reason STRING, processed_at TIMESTAMP, "
    "offset_unit STRING, spans ARRAY<STRUCT<start: INT, `end`: INT, label: STRING, text: STRING, logprob: DOUBLE>>"
)


class Extract:
    """Frames of notes.sql into results, a batch at a time. Travels to the workers; the model does not."""

    def __init__(self, options, schema):
        self.options, self.schema, self.system = options, schema, None

    def engine(self):
        """The worker's model, and what an answer depends on besides the note."""
        import bmn  # there only on the workers, by --py-files

        o = self.options
        model = bmn.shared(o["model"], o["library"], o["device"], o["threads"], o["adapter"])
        info = model.info()
        adapter = o["adapter"] and Path(o["adapter"], "adapter_model.safetensors").read_bytes()
        adapter = hashlib.sha256(adapter).hexdigest() if adapter else ""
        windows = "true" if o["windows"] else "false"
        every = "\n".join([info["version"], info["weights"], adapter, windows, self.schema])
        return model, f"biomistral-nlu {info['version']} sha256:{hashlib.sha256(every.encode()).hexdigest()}"

    def name(self, frames):
        """The system, once: what the driver asks an executor for."""
        for _ in frames:
            yield pd.DataFrame({"system": [self.engine()[1]]})

    def rows(self, frames):
        """Results of frames of notes."""
        model, system = self.engine()
        if system != self.system:
            raise RuntimeError(f"model: expected {self.system}, found {system} on this executor")
        size = self.options["batch"]
        for frame in frames:
            for at in range(0, len(frame), size):
                yield self.results(model, frame.iloc[at : at + size])

    def results(self, model, notes):
        readable = notes[notes["flaw"].isna()]
        answers = model.extract(json.loads(self.schema), list(readable["note_text"]), windows=self.options["windows"])
        by_id = dict(zip(readable["note_id"], answers))
        rows = []
        for note in notes.itertuples():
            status, reason, spans = by_id.get(note.note_id) or (note.flaw, "", [])
            spans = [{key: span.get(key) for key in ("start", "end", "label", "text", "logprob")} for span in spans]
            rows.append(
                (note.note_id, note.text_sha256, self.system, status, reason, datetime.now(timezone.utc), "code_point", spans)
            )
        columns = ["note_id", "text_sha256", "system", "status", "reason", "processed_at", "offset_unit", "spans"]
        return pd.DataFrame(rows, columns=columns)


def sql(name):
    return (Path(__file__).parent / name).read_text()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("notes", "out", "model", "schema", "library"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--adapter")
    parser.add_argument("--windows", type=lambda given: given == "true", default=False)
    for name, otherwise in (("device", -1), ("threads", 0), ("batch", 64), ("partitions", 0), ("wave", 50_000)):
        parser.add_argument(f"--{name}", type=int, default=otherwise)
    o = parser.parse_args()

    spark = SparkSession.builder.appName("note_nlp").getOrCreate()
    options = {name: getattr(o, name) for name in ("model", "library", "adapter", "windows", "device", "threads", "batch")}
    extract = Extract(options, Path(o.schema).read_text())
    # An executor names the system: the driver needs neither the library nor the model.
    extract.system = spark.range(0, 1, 1, 1).mapInPandas(extract.name, "system STRING").first()[0]

    spark.read.parquet(o.notes).createOrReplaceTempView("source")
    notes = spark.sql(sql("notes.sql"))
    notes.createOrReplaceTempView("notes")
    several = notes.groupBy("note_id").count().where("count > 1").count()
    if several:
        raise ValueError(f"note_id: expected one row each, found {several} ids with more")
    results = f"{o.out}/results"
    # So that there is a folder to read; later runs leave it.
    spark.createDataFrame([], RESULT).write.mode("ignore").parquet(f"{results}/run=0")
    spark.read.parquet(results).createOrReplaceTempView("results")
    pending = spark.sql(sql("pending.sql"), {"system": extract.system})
    left = pending.count()
    waves = -(-left // o.wave)
    partitions = o.partitions or 2 * spark.sparkContext.defaultParallelism
    run = int(time.time() * 1000)
    for wave in range(waves):
        (
            pending.where(f"pmod(xxhash64(note_id), {waves}) = {wave}")
            .repartition(partitions, "note_id")
            .sortWithinPartitions(f.length("note_text").desc(), "note_id")
            .mapInPandas(extract.rows, RESULT)
            .write.parquet(f"{results}/run={run}-{wave}")
        )
        print(f"wave {wave + 1} of {waves} done", flush=True)

    spark.read.parquet(results).createOrReplaceTempView("results")
    nlp = spark.sql(sql("note_nlp.sql"), {"system": extract.system})
    nlp.write.mode("overwrite").parquet(f"{o.out}/note_nlp")
    print(f"notes {notes.count()}, extracted now {left}, system {extract.system}", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()

package org.biomistral.nlu.spark;

import java.io.IOException;
import java.io.Serializable;
import java.sql.Timestamp;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.util.TaskCompletionListener;
import org.biomistral.nlu.Result;
import org.biomistral.nlu.RunOptions;
import org.biomistral.nlu.Session;
import org.biomistral.nlu.Span;
import org.biomistral.nlu.Status;

/** Rows of notes.sql into results, a batch at a time, with a session of the task's own. */
final class Extract implements MapPartitionsFunction<Row, Row> {
    private static final long serialVersionUID = 1L;

    /** One row per note. Offsets of spans count code points. */
    static final StructType RESULT = StructType.fromDDL(
            "note_id BIGINT, text_sha256 STRING, system STRING, status STRING, reason STRING, processed_at TIMESTAMP, "
            + "offset_unit STRING, spans ARRAY<STRUCT<start: INT, `end`: INT, label: STRING, text: STRING, logprob: DOUBLE>>");

    /** What every executor needs to know; paths are those of the executors' machines. */
    record Config(String model, String adapter, String schema, boolean windows, int device, int threads, int batch)
            implements Serializable {}

    private final Config config;
    private final String system;

    Extract(Config config, String system) {
        this.config = config;
        this.system = system;
    }

    @Override
    public Iterator<Row> call(Iterator<Row> notes) throws IOException {
        Engine engine = Engine.of(config);
        if (!engine.system().equals(system)) {
            throw new IllegalStateException("model: expected " + system + ", found " + engine.system() + " on this executor");
        }
        TaskContext task = TaskContext.get();
        Session session = engine.model().session();
        task.addTaskCompletionListener((TaskCompletionListener) ended -> session.close());
        RunOptions options = new RunOptions()
                .adapter(config.adapter() == null ? null : "adapter")
                .progress((done, of) -> !task.isInterrupted());
        if (config.windows()) {
            options.windows();
        }
        return new Iterator<>() {
            private final Queue<Row> ready = new ArrayDeque<>();

            @Override
            public boolean hasNext() {
                if (ready.isEmpty() && notes.hasNext()) {
                    List<Row> batch = new ArrayList<>();
                    while (batch.size() < config.batch() && notes.hasNext()) {
                        Row note = notes.next();
                        if (note.isNullAt(FLAW)) {
                            batch.add(note);
                        } else {
                            ready.add(row(note, note.getString(FLAW), "", List.of()));
                        }
                    }
                    List<String> texts = batch.stream().map(note -> note.getString(TEXT)).toList();
                    List<Result> results = session.extract(engine.schema(), texts, options);
                    if (task.isInterrupted()) {
                        throw new IllegalStateException("the task is killed");
                    }
                    for (int i = 0; i < batch.size(); i++) {
                        ready.add(row(batch.get(i), results.get(i)));
                    }
                }
                return !ready.isEmpty();
            }

            @Override
            public Row next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                return ready.remove();
            }
        };
    }

    private static final int FLAW = 2;
    private static final int TEXT = 3;

    private Row row(Row note, Result result) {
        if (result.status() != Status.OK) {
            return row(note, result.status().name(), Engine.field(result.json(), "error"), List.of());
        }
        String text = note.getString(TEXT);
        List<Row> spans = new ArrayList<>();
        for (Span span : result.spans()) {
            int start = text.codePointCount(0, span.start());
            int end = start + text.codePointCount(span.start(), span.end());
            spans.add(RowFactory.create(start, end, span.label(), span.text(), span.logprob()));
        }
        return row(note, "OK", "", spans);
    }

    private Row row(Row note, String status, String reason, List<Row> spans) {
        return RowFactory.create(note.getLong(0), note.getString(1), system, status, reason,
                new Timestamp(System.currentTimeMillis()), "code_point", spans.toArray());
    }
}

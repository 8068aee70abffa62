package org.biomistral.nlu;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongToIntFunction;

/** One call at a time, from any thread; others wait their turn. */
public final class Session extends Handle {
    private static final int STR = 16;
    private static final int RELATE_DOC = 32;
    private static final int QUESTION = 48;
    private static final int RUN_OPTIONS = 80;

    /** For items that answer without spans. */
    private static final List<String> NO_DOCUMENT = Collections.singletonList("");

    private final ReentrantLock turn = new ReentrantLock();

    Session(long pointer) {
        super(pointer, Library::bmn_session_free);
    }

    private interface Task {
        int call(long session, long schema, long items, long n, long options, long results, long statuses, long err);
    }

    /** Entities of a document. */
    public Result extract(Schema schema, String document) {
        return one(extract(schema, Collections.singletonList(document), null));
    }

    /** Entities of documents, in their order; a document that fails has its status. */
    public List<Result> extract(Schema schema, List<String> documents, RunOptions options) {
        try (Block items = texts(documents)) {
            return run(Library::bmn_extract, schema, items, documents, options);
        }
    }

    /** Events of a document. */
    public Result events(Schema schema, String document) {
        return one(events(schema, Collections.singletonList(document), null));
    }

    /** Events of documents, in their order. */
    public List<Result> events(Schema schema, List<String> documents, RunOptions options) {
        try (Block items = texts(documents)) {
            return run(Library::bmn_events, schema, items, documents, options);
        }
    }

    /** The class of a document. */
    public Result classify(Schema schema, String document) {
        return one(classify(schema, Collections.singletonList(document), null));
    }

    /** Classes of documents, in their order. */
    public List<Result> classify(Schema schema, List<String> documents, RunOptions options) {
        try (Block items = texts(documents)) {
            return run(Library::bmn_classify, schema, items, documents, options);
        }
    }

    /** Relations between entities that are extracted first. */
    public Result relate(Schema schema, String document) {
        List<String> documents = Collections.singletonList(document);
        try (Block texts = texts(documents); Block items = new Block(RELATE_DOC)) {
            items.putLong(0, texts.getLong(0));
            items.putLong(8, texts.getLong(8));
            return one(run(Library::bmn_relate, schema, items, documents, null));
        }
    }

    /** A multiple-choice question about {@code context}, which may be empty. */
    public Result answer(String question, String context, List<String> options) {
        try (Block texts = texts(Arrays.asList(question, context)); Block choices = texts(options);
                Block items = new Block(QUESTION)) {
            for (int at = 0; at < 2 * STR; at += 8) {
                items.putLong(at, texts.getLong(at));
            }
            items.putLong(2 * STR, choices.address());
            items.putLong(2 * STR + 8, options.size());
            return one(run((session, schema, asked, n, run, out, statuses, err)
                    -> Library.bmn_answer(session, asked, n, run, out, statuses, err), null, items, NO_DOCUMENT, null));
        }
    }

    /** Whether {@code hypothesis} follows from {@code premise}. */
    public Result entail(String premise, String hypothesis) {
        try (Block pair = texts(Arrays.asList(premise, hypothesis))) {
            return one(run((session, schema, pairs, n, run, out, statuses, err)
                    -> Library.bmn_entail(session, pairs, n, run, out, statuses, err), null, pair, NO_DOCUMENT, null));
        }
    }

    /** How similar two texts are; {@link Result#number} is the expected score from 0 to 5. */
    public Result similar(String first, String second) {
        try (Block pair = texts(Arrays.asList(first, second))) {
            return one(run((session, schema, pairs, n, run, out, statuses, err)
                    -> Library.bmn_similar(session, pairs, n, run, out, statuses, err), null, pair, NO_DOCUMENT, null));
        }
    }

    private static Result one(List<Result> results) {
        Result result = results.get(0);
        if (result.status() != Status.OK) {
            throw new NluException(result.status(), result.json());
        }
        return result;
    }

    /** An array of {@code bmn_str} with its texts in one block. */
    private static Block texts(List<String> texts) {
        List<byte[]> all = new ArrayList<>(texts.size());
        long size = 0;
        for (String text : texts) {
            byte[] bytes = Calls.utf8(text);
            all.add(bytes);
            size += bytes.length;
        }
        long at = (long) STR * Math.max(1, texts.size());
        Block block = new Block(at + size + 1);
        for (int i = 0; i < all.size(); i++) {
            byte[] bytes = all.get(i);
            block.putLong((long) STR * i, block.address() + at);
            block.putLong((long) STR * i + 8, bytes.length);
            block.put(at, bytes);
            at += bytes.length;
        }
        return block;
    }

    /** Runs one item per document. */
    private List<Result> run(Task task, Schema schema, Block items, List<String> documents, RunOptions options) {
        int n = documents.size();
        RunOptions chosen = options == null ? new RunOptions() : options;
        Throwable[] thrown = new Throwable[1];
        Upcall.Progress progress = (userData, done, of) -> {
            try {
                return chosen.progress.go(done, of) ? 0 : 1;
            } catch (Throwable e) {
                thrown[0] = e;
                return 1;
            }
        };
        List<Result> all = new ArrayList<>(n);
        // Results, their statuses, the error.
        long statuses = 8L * n;
        long error = statuses + 4L * (n + n % 2);
        try (Block out = new Block(error + 8);
                Block run = new Block(RUN_OPTIONS);
                Block adapter = chosen.adapter == null ? null : Block.utf8(chosen.adapter);
                Upcall called = chosen.progress == null ? null : Upcall.progress(progress)) {
            Library.bmn_run_options_init(run.address(), RUN_OPTIONS);
            run.putInt(4, chosen.flags);
            run.putInt(8, chosen.timeoutMs);
            run.putInt(12, chosen.batch);
            run.putLong(16, adapter == null ? 0 : adapter.address());
            run.putLong(32, called == null ? 0 : called.address());
            run.putInt(60, chosen.maxSpans);
            run.putInt(64, chosen.maxWords);
            int status = held(this, session -> held(schema, asked -> held(chosen.cancel, cancel -> {
                run.putLong(24, cancel);
                turn.lock();
                try {
                    return task.call(session, asked, items.address(), n, run.address(), out.address(),
                            out.address() + statuses, out.address() + error);
                } finally {
                    turn.unlock();
                }
            })));
            Calls.check(status, out.getLong(error));
            try {
                for (int i = 0; i < n; i++) {
                    all.add(new Result(out.getLong(8L * i), out.getInt(statuses + 4L * i), documents.get(i)));
                }
            } finally {
                for (int i = 0; i < n; i++) {
                    Library.bmn_result_free(out.getLong(8L * i));
                }
            }
        }
        Calls.rethrow(thrown[0]);
        return all;
    }

    /** What {@code call} returns, with a handle that is not freed meanwhile; 0 stands for a null handle. */
    static int held(Handle handle, LongToIntFunction call) {
        if (handle == null) {
            return call.applyAsInt(0);
        }
        long pointer = handle.acquire();
        try {
            return call.applyAsInt(pointer);
        } finally {
            handle.release();
        }
    }
}

package org.biomistral.nlu;

import com.sun.jna.CallbackReference;
import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/** One call at a time, from any thread; others wait their turn. */
public final class Session extends Handle {
    private static final int STR = 16;
    private static final int RELATE_DOC = 32;
    private static final int QUESTION = 48;
    private static final int RUN_OPTIONS = 80;

    private final ReentrantLock turn = new ReentrantLock();

    Session(Pointer pointer) {
        super(pointer, Library::bmn_session_free);
    }

    private interface Task {
        int call(Pointer session, Pointer schema, Pointer items, long n, Pointer options, Pointer results,
                Pointer statuses, PointerByReference err);
    }

    /** Entities of a document. */
    public Result extract(Schema schema, String document) {
        return one(extract(schema, Collections.singletonList(document), null));
    }

    /** Entities of documents, in their order; a document that fails has its status. */
    public List<Result> extract(Schema schema, List<String> documents, RunOptions options) {
        return run(Library::bmn_extract, schema, texts(documents), documents.size(), options);
    }

    /** Events of a document. */
    public Result events(Schema schema, String document) {
        return one(events(schema, Collections.singletonList(document), null));
    }

    /** Events of documents, in their order. */
    public List<Result> events(Schema schema, List<String> documents, RunOptions options) {
        return run(Library::bmn_events, schema, texts(documents), documents.size(), options);
    }

    /** The class of a document. */
    public Result classify(Schema schema, String document) {
        return one(classify(schema, Collections.singletonList(document), null));
    }

    /** Classes of documents, in their order. */
    public List<Result> classify(Schema schema, List<String> documents, RunOptions options) {
        return run(Library::bmn_classify, schema, texts(documents), documents.size(), options);
    }

    /** Relations between entities that are extracted first. */
    public Result relate(Schema schema, String document) {
        Memory texts = texts(Collections.singletonList(document));
        Memory items = new Memory(RELATE_DOC);
        items.clear();
        items.setPointer(0, texts.getPointer(0));
        items.setLong(8, texts.getLong(8));
        List<Result> results = run(Library::bmn_relate, schema, items, 1, null);
        keep(texts);
        return one(results);
    }

    /** A multiple-choice question about {@code context}, which may be empty. */
    public Result answer(String question, String context, List<String> options) {
        Memory texts = texts(Arrays.asList(question, context));
        Memory choices = texts(options);
        Memory items = new Memory(QUESTION);
        for (int at = 0; at < 2 * STR; at += 8) {
            items.setLong(at, texts.getLong(at));
        }
        items.setPointer(2 * STR, choices);
        items.setLong(2 * STR + 8, options.size());
        List<Result> results = run((session, schema, asked, n, run, out, statuses, err)
                -> Library.bmn_answer(session, asked, n, run, out, statuses, err), null, items, 1, null);
        keep(texts);
        keep(choices);
        return one(results);
    }

    /** Whether {@code hypothesis} follows from {@code premise}. */
    public Result entail(String premise, String hypothesis) {
        return one(run((session, schema, pairs, n, run, out, statuses, err)
                -> Library.bmn_entail(session, pairs, n, run, out, statuses, err),
                null, texts(Arrays.asList(premise, hypothesis)), 1, null));
    }

    /** How similar two texts are; {@link Result#number} is the expected score from 0 to 5. */
    public Result similar(String first, String second) {
        return one(run((session, schema, pairs, n, run, out, statuses, err)
                -> Library.bmn_similar(session, pairs, n, run, out, statuses, err),
                null, texts(Arrays.asList(first, second)), 1, null));
    }

    private static Result one(List<Result> results) {
        Result result = results.get(0);
        if (result.status() != Status.OK) {
            throw new NluException(result.status(), result.json());
        }
        return result;
    }

    /** Uses {@code memory}, so that it is not freed before. */
    private static void keep(Memory memory) {
        memory.valid();
    }

    /** An array of {@code bmn_str} with its texts in one block. A lone surrogate is refused, not replaced. */
    private static Memory texts(List<String> texts) {
        List<byte[]> all = new ArrayList<>(texts.size());
        long size = 0;
        for (String text : texts) {
            if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
                throw new NluException(Status.INVALID_UTF8, "document: expected well-formed UTF-16, found a lone surrogate");
            }
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            all.add(bytes);
            size += bytes.length;
        }
        long head = (long) STR * Math.max(1, texts.size());
        Memory memory = new Memory(head + size + 1);
        long at = head;
        for (int i = 0; i < all.size(); i++) {
            byte[] bytes = all.get(i);
            memory.setPointer((long) STR * i, memory.share(at));
            memory.setLong((long) STR * i + 8, bytes.length);
            memory.write(at, bytes, 0, bytes.length);
            at += bytes.length;
        }
        return memory;
    }

    private List<Result> run(Task task, Schema schema, Memory items, int n, RunOptions options) {
        RunOptions chosen = options == null ? new RunOptions() : options;
        Memory run = new Memory(RUN_OPTIONS);
        Library.bmn_run_options_init(run, RUN_OPTIONS);
        run.setInt(4, chosen.flags);
        run.setInt(8, chosen.timeoutMs);
        run.setInt(12, chosen.batch);
        Memory adapter = chosen.adapter == null ? null : Calls.utf8(chosen.adapter);
        run.setPointer(16, adapter);
        run.setInt(60, chosen.maxSpans);
        run.setInt(64, chosen.maxWords);
        Throwable[] thrown = new Throwable[1];
        Library.Progress progress = chosen.progress == null ? null : (userData, done, of) -> {
            try {
                return chosen.progress.go(done, of) ? 0 : 1;
            } catch (Throwable e) {
                thrown[0] = e;
                return 1;
            }
        };
        if (progress != null) {
            run.setPointer(32, CallbackReference.getFunctionPointer(progress));
        }
        Memory results = new Memory(8L * Math.max(1, n));
        Memory statuses = new Memory(4L * Math.max(1, n));
        results.clear();
        PointerByReference err = new PointerByReference();
        Pointer session = acquire();
        try {
            Pointer asked = schema == null ? null : schema.acquire();
            try {
                run.setPointer(24, chosen.cancel == null ? null : chosen.cancel.acquire());
                turn.lock();
                try {
                    Calls.check(task.call(session, asked, items, n, run, results, statuses, err), err);
                } finally {
                    turn.unlock();
                    if (chosen.cancel != null) {
                        chosen.cancel.release();
                    }
                }
            } finally {
                if (schema != null) {
                    schema.release();
                }
            }
        } finally {
            release();
        }
        List<Result> all = new ArrayList<>(n);
        try {
            for (int i = 0; i < n; i++) {
                all.add(new Result(results.getPointer(8L * i), statuses.getInt(4L * i)));
            }
        } finally {
            for (int i = 0; i < n; i++) {
                Library.bmn_result_free(results.getPointer(8L * i));
            }
        }
        if (thrown[0] instanceof Error) {
            throw (Error) thrown[0];
        }
        if (thrown[0] != null) {
            throw (RuntimeException) thrown[0];
        }
        return all;
    }
}

package org.biomistral.nlu;

/** How a batch is run. Setters return the options, to be chained. */
public final class RunOptions {
    /** Called after each batch with the number of documents done and of all; false stops the run. */
    public interface Progress {
        /** Whether to go on. What it throws stops the run and comes out of the call. */
        boolean go(long done, long of);
    }

    int flags;
    int timeoutMs;
    int batch;
    String adapter;
    Cancel cancel;
    Progress progress;
    int maxSpans;
    int maxWords;

    /** Name of the adapter to answer with. */
    public RunOptions adapter(String name) {
        adapter = name;
        return this;
    }

    /** Flag that stops the run. */
    public RunOptions cancel(Cancel flag) {
        cancel = flag;
        return this;
    }

    /** Milliseconds after which documents not done get {@link Status#TIMEOUT}. */
    public RunOptions timeoutMs(int ms) {
        timeoutMs = ms;
        return this;
    }

    /** Documents decoded together; does not change an answer. */
    public RunOptions batch(int documents) {
        batch = documents;
        return this;
    }

    /** Called after each batch. */
    public RunOptions progress(Progress callback) {
        progress = callback;
        return this;
    }

    /** Most spans per label. */
    public RunOptions maxSpans(int spans) {
        maxSpans = spans;
        return this;
    }

    /** Most words per span. */
    public RunOptions maxWords(int words) {
        maxWords = words;
        return this;
    }

    /** Reads a text that does not fit in windows ({@code BMN_RUN_WINDOW}). */
    public RunOptions windows() {
        flags |= 4;
        return this;
    }

    /** Asks each class on its own ({@code BMN_RUN_MULTI}). */
    public RunOptions multi() {
        flags |= 8;
        return this;
    }

    /** Spans may begin and end inside words ({@code BMN_RUN_INSIDE_WORDS}). */
    public RunOptions insideWords() {
        flags |= 16;
        return this;
    }
}

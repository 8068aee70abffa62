package org.biomistral.nlu;

import java.util.ArrayList;
import java.util.List;

/** A base model plus the weighted differences of models and adapters. Setters return the merge, to be chained. */
public final class Merge {
    private static final int SOURCE = 24;
    private static final int MERGE_OPTIONS = 48;
    private static final int MODEL = 0;
    private static final int ADAPTER = 1;
    private static final int NO_RESCALE = 1;
    private static final int AS_ADAPTER = 2;

    private final String base;
    private final List<Source> sources = new ArrayList<>();
    private int flags;
    private double drop;
    private long seed;

    private static final class Source {
        final String path;
        final double weight;
        final int kind;

        Source(String path, double weight, int kind) {
            this.path = path;
            this.weight = weight;
            this.kind = kind;
        }
    }

    /** A merge into {@code base}: a model's folder or {@code .gguf} file. */
    public Merge(String base) {
        this.base = base;
    }

    /** Adds a fine-tuned model of the base's shape. */
    public Merge model(String path, double weight) {
        sources.add(new Source(path, weight, MODEL));
        return this;
    }

    /** Adds an adapter; a weight of -1 takes a merged one out again, up to rounding. */
    public Merge adapter(String folder, double weight) {
        sources.add(new Source(folder, weight, ADAPTER));
        return this;
    }

    /** Drops a share of each difference at random, by {@code random}, and divides the rest by what is left (DARE). */
    public Merge drop(double share, long random) {
        drop = share;
        seed = random;
        return this;
    }

    /** Leaves the differences that are not dropped as they are. */
    public Merge withoutRescaling() {
        flags |= NO_RESCALE;
        return this;
    }

    /** Makes one adapter of adapters. */
    public Merge asAdapter() {
        flags |= AS_ADAPTER;
        return this;
    }

    /** Writes the folder, which must not exist. */
    public void into(String folder) {
        List<Block> paths = new ArrayList<>();
        try (Block from = Block.utf8(base); Block to = Block.utf8(folder); Block error = new Block(8);
                Block options = new Block(MERGE_OPTIONS); Block given = new Block((long) SOURCE * Math.max(1, sources.size()))) {
            Library.bmn_merge_options_init(options.address(), MERGE_OPTIONS);
            options.putInt(4, flags);
            options.putLong(8, Double.doubleToRawLongBits(drop));
            options.putLong(16, seed);
            for (Source source : sources) {
                long at = (long) SOURCE * paths.size();
                Block path = Block.utf8(source.path);
                paths.add(path);
                given.putLong(at, path.address());
                given.putLong(at + 8, Double.doubleToRawLongBits(source.weight));
                given.putInt(at + 16, source.kind);
            }
            Calls.check(Library.bmn_merge(from.address(), given.address(), sources.size(), options.address(), to.address(),
                    error.address()), error.getLong(0));
        } finally {
            paths.forEach(Block::close);
        }
    }
}

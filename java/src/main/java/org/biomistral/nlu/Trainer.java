package org.biomistral.nlu;

/** A training run: a configuration in, an adapter or a model out. One call of {@link #run} at a time. */
public final class Trainer extends Handle {
    private static final int TRAIN_OPTIONS = 32;
    private static final int RESUME = 1;
    private static final int TEXT = 2;

    private Trainer(long pointer) {
        super(pointer, Library::bmn_trainer_free);
    }

    /** What happened. */
    public enum Kind {
        /** A step is done. */
        STEP,
        /** The validation corpora have been measured. */
        VALIDATION,
        /** A checkpoint is on disk. */
        SAVED
    }

    /** Called after each step, validation and checkpoint; false stops the run, with everything saved. */
    public interface Progress {
        /** Whether to go on. What it throws stops the run and comes out of the call. */
        boolean go(Event event);
    }

    /** How far a run is. */
    public static final class Event {
        private final Kind kind;
        private final long step;
        private final long steps;
        private final double[] numbers = new double[4];

        /** {@code bmn_train_event}: size and kind, step, steps, four numbers. */
        Event(long address) {
            int number = (int) (Block.peek(address) >>> 32);
            kind = Kind.values()[number];
            step = Block.peek(address + 8);
            steps = Block.peek(address + 16);
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = Double.longBitsToDouble(Block.peek(address + 24 + 8L * i));
            }
        }

        /** What happened. */
        public Kind kind() {
            return kind;
        }

        /** Steps done. */
        public long step() {
            return step;
        }

        /** Steps of the whole run. */
        public long steps() {
            return steps;
        }

        /** Mean loss per token that counts, of the step or the validation; else NaN. */
        public double loss() {
            return numbers[0];
        }

        /** Learning rate of a step; else NaN. */
        public double rate() {
            return numbers[1];
        }

        /** Tokens per second of a step; else NaN. */
        public double tokensPerSecond() {
            return numbers[2];
        }

        /** Seconds left after a step, at the mean speed so far; else NaN. */
        public double secondsLeft() {
            return numbers[3];
        }
    }

    /** Opens the run of a TOML file on the processor. {@code resume}: it goes on from its last checkpoint, if there is one. */
    public static Trainer open(String file, boolean resume) {
        return open(file, resume ? RESUME : 0, -1, 0, null);
    }

    /** Opens the run of a configuration in TOML; its relative paths are those of the process. The rest as for a model. */
    public static Trainer of(String toml, boolean resume, int device, int threads, Model.Log log) {
        return open(toml, TEXT | (resume ? RESUME : 0), device, threads, log);
    }

    private static Trainer open(String config, int flags, int device, int threads, Model.Log log) {
        try (Block text = Block.utf8(config)) {
            return new Trainer(Model.onRuntime(device, threads, log, runtime
                    -> Calls.make((out, err) -> Library.bmn_trainer_open(runtime, text.address(), flags, out, err))));
        }
    }

    /** What the run needs, as JSON: examples, tokens, steps, parameters, bytes. */
    public String planJson() {
        long trainer = acquire();
        try {
            return Block.string(Library.bmn_trainer_plan_json(trainer));
        } finally {
            release();
        }
    }

    /**
     * Runs to the end and returns the folder of the adapter or model. {@code progress} and {@code cancel} may be null. A run that
     * was stopped throws {@link Status#CANCELLED}, and goes on in another call or in a trainer that resumes.
     */
    public String run(Progress progress, Cancel cancel) {
        Throwable[] thrown = new Throwable[1];
        Upcall.Train tell = (userData, event) -> {
            try {
                return progress.go(new Event(event)) ? 0 : 1;
            } catch (Throwable e) {
                thrown[0] = e;
                return 1;
            }
        };
        long trainer = acquire();
        try (Block options = new Block(TRAIN_OPTIONS); Block error = new Block(8);
                Upcall called = progress == null ? null : Upcall.train(tell)) {
            Library.bmn_train_options_init(options.address(), TRAIN_OPTIONS);
            options.putLong(16, called == null ? 0 : called.address());
            int status = Session.held(cancel, flag -> {
                options.putLong(8, flag);
                return Library.bmn_trainer_run(trainer, options.address(), error.address());
            });
            if (thrown[0] != null) {
                Library.bmn_error_free(error.getLong(0));
                Calls.rethrow(thrown[0]);
            }
            Calls.check(status, error.getLong(0));
            return Block.string(Library.bmn_trainer_output(trainer));
        } finally {
            release();
        }
    }
}

package org.biomistral.nlu;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.AfterClass;
import org.junit.Assume;
import org.junit.BeforeClass;
import org.junit.Test;

/** The binding on a real model: {@code -Dbmn.model=FILE}. */
public class NluTest {
    private static final String NOTE =
            "\uD83D\uDC69 Sj\u00F6gren's syndrome was treated with hydroxychloroquine. Ibuprofen caused a rash.";
    private static final String SCHEMA = "{\"labels\": [\"problem\", \"drug\"], \"classes\": [\"one\", \"two\"],"
            + "\"events\": [{\"name\": \"treatment\", \"arguments\": [\"drug\"]}],"
            + "\"relations\": [{\"name\": \"causes\", \"head\": [\"drug\"], \"tail\": [\"problem\"]}]}";
    private static final List<String> LOG = Collections.synchronizedList(new ArrayList<>());
    private static Model model;
    private static Schema schema;

    @BeforeClass
    public static void open() {
        model = Model.open(System.getProperty("bmn.model"), -1, 0, (level, target, message) -> LOG.add(message));
        schema = Schema.of(SCHEMA);
    }

    @AfterClass
    public static void close() {
        schema.close();
        model.close();
        assertFalse(LOG.isEmpty());
        for (String line : LOG) {
            assertFalse(line.contains("gren"));
        }
    }

    private static void verbatim(Result result, String text) {
        for (Span span : result.spans()) {
            assertEquals(span.text(), text.substring(span.start(), span.end()));
        }
    }

    @Test
    public void spansAreSubstrings() {
        try (Session session = model.session()) {
            verbatim(session.events(schema, NOTE), NOTE);
            verbatim(session.relate(schema, NOTE), NOTE);
            Result result = session.extract(schema, NOTE);
            verbatim(result, NOTE);
            assertFalse(result.spans().isEmpty());
            assertTrue(result.json().contains("\"unit\":\"utf16\""));
        }
    }

    @Test
    public void aSpanThatIsNotItsTextIsRefused() {
        assertEquals(3, Result.verbatim("\uD83D\uDC69 a rash", 3, 9, "a rash"));
        for (long[] wrong : new long[][] {{4, 10}, {3, 8}, {-1, 5}, {2, 8}, {9, 15}, {1L << 31, (1L << 31) + 6}}) {
            try {
                Result.verbatim("\uD83D\uDC69 a rash", wrong[0], wrong[1], "a rash");
                fail();
            } catch (NluException e) {
                assertSame(Status.INTERNAL, e.status());
                assertFalse(e.getMessage().contains("rash"));
            }
        }
    }

    @Test
    public void probabilitiesAddUp() {
        try (Session session = model.session()) {
            List<Result> all = Arrays.asList(
                    session.classify(schema, NOTE), session.answer("Which?", NOTE, Arrays.asList("a", "b", "c")),
                    session.entail(NOTE, "A drug was given."), session.similar(NOTE, "A rash."));
            for (Result result : all) {
                double sum = 0;
                for (Score score : result.scores()) {
                    sum += score.probability();
                }
                assertEquals(1, sum, 1e-9);
                assertFalse(result.label().isEmpty());
            }
            assertTrue(all.get(3).number() >= 0 && all.get(3).number() <= 5);
        }
    }

    @Test
    public void aDocumentFailsAlone() {
        try (Session session = model.session()) {
            StringBuilder tooLong = new StringBuilder();
            for (int i = 0; i < 20000; i++) {
                tooLong.append("pain and ");
            }
            List<String> documents = Arrays.asList(NOTE, tooLong.toString(), NOTE, "pain \uDC69\uD83D", "", "\uD83D");
            List<Result> results = session.extract(schema, documents, new RunOptions());
            assertSame(Status.OK, results.get(0).status());
            assertSame(Status.TOO_LONG, results.get(1).status());
            assertEquals(results.get(0).json(), results.get(2).json());
            assertSame(Status.INVALID_UTF8, results.get(3).status());
            assertTrue(results.get(3).json(), results.get(3).json().contains("at 5"));
            assertSame(Status.OK, results.get(4).status());
            assertSame(Status.INVALID_UTF8, results.get(5).status());
            assertTrue(session.extract(schema, Collections.emptyList(), null).isEmpty());
            try {
                session.extract(schema, tooLong.toString());
                fail();
            } catch (NluException e) {
                assertSame(Status.TOO_LONG, e.status());
                assertFalse(e.getMessage().contains("pain"));
            }
            try {
                session.extract(schema, "lone \uD83D surrogate");
                fail();
            } catch (NluException e) {
                assertSame(Status.INVALID_UTF8, e.status());
            }
        }
    }

    @Test
    public void closedTwiceAndUsedAfterwards() {
        Session session = model.session();
        session.close();
        session.close();
        try {
            session.extract(schema, NOTE);
            fail();
        } catch (IllegalStateException e) {
            assertTrue(e.getMessage().contains("closed"));
        }
        Schema other = Schema.of(SCHEMA);
        other.close();
        try (Session open = model.session()) {
            open.extract(other, NOTE);
            fail();
        } catch (IllegalStateException e) {
            assertTrue(e.getMessage().contains("Schema"));
        }
    }

    /** Everything that a run uses is closed between its documents, from its own thread and from another. */
    @Test
    public void closedDuringARun() {
        Model other = Model.open(System.getProperty("bmn.model"));
        Session session = other.session();
        Schema asked = Schema.of(SCHEMA);
        Cancel cancel = new Cancel();
        String text = "A rash.";
        List<String> documents = Arrays.asList(text, text, text);
        List<Result> results = session.extract(asked, documents, new RunOptions().batch(1).cancel(cancel).progress((done, of) -> {
            session.close();
            Thread closing = new Thread(() -> {
                asked.close();
                cancel.close();
                other.close();
            });
            closing.start();
            try {
                closing.join();
            } catch (InterruptedException e) {
                return false;
            }
            return true;
        }));
        for (Result result : results) {
            assertSame(Status.OK, result.status());
            assertEquals(results.get(0).json(), result.json());
            verbatim(result, text);
        }
        for (Handle handle : new Handle[] {other, session, asked, cancel}) {
            try {
                handle.acquire();
                fail();
            } catch (IllegalStateException e) {
                handle.close();
            }
        }
    }

    @Test
    public void cancelledTimedOutAndThrownAt() {
        try (Session session = model.session(); Cancel cancel = new Cancel()) {
            cancel.trigger();
            List<String> one = Collections.singletonList(NOTE);
            assertSame(Status.CANCELLED, session.extract(schema, one, new RunOptions().cancel(cancel)).get(0).status());
            cancel.reset();
            assertSame(Status.OK, session.extract(schema, one, new RunOptions().cancel(cancel)).get(0).status());
            List<String> many = Collections.nCopies(8, NOTE);
            assertSame(Status.TIMEOUT, session.extract(schema, many, new RunOptions().timeoutMs(1)).get(7).status());
            try {
                session.extract(schema, many, new RunOptions().batch(1).progress((done, of) -> {
                    throw new IllegalArgumentException("from the callback");
                }));
                fail();
            } catch (IllegalArgumentException e) {
                assertEquals("from the callback", e.getMessage());
            }
            verbatim(session.extract(schema, NOTE), NOTE);
        }
    }

    @Test
    public void manyThreadsGetTheSameAnswer() throws Exception {
        String expected;
        try (Session session = model.session()) {
            expected = session.classify(schema, NOTE).json();
        }
        ExecutorService pool = Executors.newFixedThreadPool(8);
        Session[] sessions = {model.session(), model.session(), model.session(), model.session()};
        List<Future<String>> all = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            Session session = sessions[i % sessions.length];
            all.add(pool.submit(() -> session.classify(schema, NOTE).json()));
        }
        for (Future<String> answer : all) {
            assertEquals(expected, answer.get());
        }
        pool.shutdown();
        for (Session session : sessions) {
            session.close();
        }
    }

    /** Every thread gets the error of its own call, whatever carries it, and some get an answer. */
    @Test
    public void tenThousandVirtualThreads() throws Exception {
        ExecutorService pool = virtualThreads();
        if (pool == null) {
            System.out.println("\nSKIPPED tenThousandVirtualThreads: Java " + System.getProperty("java.version") + " has none");
        }
        Assume.assumeNotNull(pool);
        try (Session session = model.session()) {
            String expected = session.classify(schema, NOTE).json();
            List<Future<String>> all = new ArrayList<>();
            for (int i = 0; i < 10_000; i++) {
                String key = "key" + i + "x";
                boolean asks = i % 1000 == 0;
                all.add(pool.submit(() -> {
                    try {
                        Schema.of("{\"" + key + "\": []}").close();
                        return "no error";
                    } catch (NluException e) {
                        return !e.getMessage().contains(key) ? e.getMessage()
                                : asks ? session.classify(schema, NOTE).json() : expected;
                    }
                }));
            }
            for (Future<String> answer : all) {
                assertEquals(expected, answer.get());
            }
        }
        pool.shutdown();
        assertTrue(pool.awaitTermination(1, TimeUnit.MINUTES));
    }

    private static ExecutorService virtualThreads() {
        try {
            return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (ReflectiveOperationException e) {
            return null;
        }
    }

    @Test
    public void errorsNameTheThing() {
        try {
            Model.open("/nowhere");
            fail();
        } catch (NluException e) {
            assertSame(Status.NOT_FOUND, e.status());
            assertTrue(e.getMessage().contains("/nowhere"));
        }
        try {
            Schema.of("{\"lables\": []}");
            fail();
        } catch (NluException e) {
            assertTrue(e.getMessage().contains("lables"));
        }
    }

    @Test
    public void forgottenHandlesAreFreed() throws Exception {
        int before = Handle.live();
        for (int i = 0; i < 200; i++) {
            Schema.of(SCHEMA);
        }
        verbatim(model.session().extract(schema, "A rash."), "A rash.");
        for (int i = 0; i < 100 && Handle.live() > before; i++) {
            System.gc();
            Thread.sleep(20);
        }
        assertTrue(Handle.live() + " handles, " + before + " before", Handle.live() <= before);
    }

    @Test
    public void aLogThatThrowsIsNotHeard() {
        for (Throwable thrown : new Throwable[] {new IllegalStateException(), new AssertionError()}) {
            try (Model other = Model.open(System.getProperty("bmn.model"), -1, 1, (level, target, message) -> {
                NluTest.<RuntimeException>raise(thrown);
            })) {
                assertEquals(model.infoJson(), other.infoJson());
            }
        }
    }

    private static <T extends Throwable> void raise(Throwable thrown) throws T {
        @SuppressWarnings("unchecked")
        T typed = (T) thrown;
        throw typed;
    }

    @Test
    public void adaptersAreSwapped() {
        String first = System.getProperty("bmn.adapter1");
        if (first == null) {
            System.out.println("\nSKIPPED adaptersAreSwapped: set bmn.adapter1 and bmn.adapter2, `make test-abi` does");
        }
        Assume.assumeNotNull(first);
        try (Session session = model.session()) {
            List<String> note = Collections.singletonList(NOTE);
            RunOptions named = new RunOptions().adapter("a");
            long one = model.setAdapter("a", first);
            String answer = session.classify(schema, note, named).get(0).json();
            long two = model.setAdapter("a", System.getProperty("bmn.adapter2"));
            assertTrue(two > one);
            assertFalse(answer.equals(session.classify(schema, note, named).get(0).json()));
            assertFalse(answer.equals(session.classify(schema, NOTE).json()));
            model.removeAdapter("a");
            try {
                session.classify(schema, note, named);
                fail();
            } catch (NluException e) {
                assertSame(Status.INVALID_ARGUMENT, e.status());
            }
        }
    }

    @Test
    public void trainedStoppedResumedAndMerged() throws Exception {
        String tiny = System.getProperty("bmn.tiny");
        if (tiny == null) {
            System.out.println("\nSKIPPED trainedStoppedResumedAndMerged: set bmn.tiny, `make test-abi` does");
        }
        Assume.assumeNotNull(tiny);
        Path out = Files.createTempDirectory("nlu");
        String config = "model = '" + tiny + "/model'\noutput = '" + out + "/run'\nmax_tokens = 128\ntrain = [{file = '" + tiny
                + "/train.jsonl'}]\ntuning = {method = 'lora', rank = 2}\nrun = {epochs = 1, batch = 4, pass_tokens = 256}\n";
        String adapter;
        List<String> lines = new ArrayList<>();
        try (Trainer trainer = Trainer.of(config, false, -1, 1, (level, target, message) -> lines.add(message))) {
            assertTrue(trainer.planJson(), trainer.planJson().contains("\"steps\":3"));
            try {
                trainer.run(event -> {
                    throw new IllegalArgumentException("from the callback");
                }, null);
                fail();
            } catch (IllegalArgumentException e) {
                assertEquals("from the callback", e.getMessage());
            }
            try {
                trainer.run(event -> event.step() != 2, null);
                fail();
            } catch (NluException e) {
                assertSame(Status.CANCELLED, e.status());
            }
        }
        try (Trainer trainer = Trainer.of(config, true, -1, 1, (level, target, message) -> lines.add(message));
                Cancel cancel = new Cancel()) {
            List<Trainer.Event> events = new ArrayList<>();
            adapter = trainer.run(events::add, cancel);
            assertEquals(adapter, trainer.run(null, null));
            Trainer.Event step = events.get(0);
            assertSame(Trainer.Kind.STEP, step.kind());
            assertEquals(3, step.step());
            assertEquals(3, step.steps());
            assertTrue(step.loss() > 0 && step.rate() >= 0 && step.tokensPerSecond() > 0 && step.secondsLeft() == 0);
            assertSame(Trainer.Kind.SAVED, events.get(1).kind());
            assertTrue(Double.isNaN(events.get(1).loss()));
        }
        assertFalse(lines.isEmpty());
        for (String line : lines) {
            assertFalse(line, line.contains("aspirin"));
        }
        new Merge(tiny + "/model").adapter(adapter, 1).into(out + "/merged");
        new Merge(tiny + "/model").adapter(adapter, 0.5).adapter(adapter, 0.5).asAdapter().into(out + "/adapter");
        try (Model merged = Model.open(out + "/merged"); Model base = Model.open(tiny + "/model")) {
            base.setAdapter("trained", adapter);
            base.setAdapter("again", out + "/adapter");
            assertFalse(merged.infoJson().equals(base.infoJson()));
        }
        try {
            new Merge(tiny + "/model").adapter(adapter, 1).drop(1, 0).into(out + "/none");
            fail();
        } catch (NluException e) {
            assertSame(Status.INVALID_ARGUMENT, e.status());
        }
    }

    /** The figure promised is 20 microseconds beside the engine; the least of several rounds is what a busy machine leaves. */
    @Test
    public void aCallCostsLittle() {
        double least = CallOverhead.schema(1000, 20);
        System.out.printf("call overhead: %.1f us to read a schema and to free it%n", least);
        assertTrue(least + " us", least <= 20);
    }
}

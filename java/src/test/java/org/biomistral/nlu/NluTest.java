package org.biomistral.nlu;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.AfterClass;
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
            verbatim(session.extract(schema, NOTE), NOTE);
            verbatim(session.events(schema, NOTE), NOTE);
            verbatim(session.relate(schema, NOTE), NOTE);
            assertTrue(session.extract(schema, NOTE).json().contains("\"unit\":\"utf16\""));
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
            List<Result> results =
                    session.extract(schema, Arrays.asList(NOTE, tooLong.toString(), NOTE), new RunOptions());
            assertSame(Status.OK, results.get(0).status());
            assertSame(Status.TOO_LONG, results.get(1).status());
            assertEquals(results.get(0).json(), results.get(2).json());
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

    @Test
    public void closedDuringARun() throws Exception {
        for (int i = 0; i < 3; i++) {
            Session session = model.session();
            ExecutorService pool = Executors.newSingleThreadExecutor();
            Future<Result> result = pool.submit(() -> session.extract(schema, NOTE));
            Thread.sleep(5);
            session.close();
            try {
                verbatim(result.get(), NOTE);
            } catch (java.util.concurrent.ExecutionException e) {
                assertTrue(e.getCause() instanceof IllegalStateException); // closed before the run began
            }
            pool.shutdown();
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
            List<String> many = Collections.nCopies(20, NOTE);
            assertSame(Status.TIMEOUT, session.extract(schema, many, new RunOptions().timeoutMs(1)).get(19).status());
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
        // 10,000 virtual threads where the JDK has them, else 64 platform threads, over four sessions.
        ExecutorService pool = virtualThreads();
        int tasks = pool == null ? 64 : 10_000;
        if (pool == null) {
            pool = Executors.newFixedThreadPool(64);
        }
        Session[] sessions = {model.session(), model.session(), model.session(), model.session()};
        List<Future<String>> all = new ArrayList<>();
        for (int i = 0; i < tasks; i++) {
            Session session = sessions[i % sessions.length];
            all.add(pool.submit(() -> session.classify(schema, NOTE).json()));
        }
        for (Future<String> answer : all) {
            assertEquals(expected, answer.get());
        }
        pool.shutdown();
        assertTrue(pool.awaitTermination(1, TimeUnit.MINUTES));
        for (Session session : sessions) {
            session.close();
        }
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
        for (int i = 0; i < 200; i++) {
            Schema.of(SCHEMA);
        }
        System.gc();
        Thread.sleep(100);
        verbatim(model.session().extract(schema, NOTE), NOTE);
        System.gc();
        Thread.sleep(100);
    }
}

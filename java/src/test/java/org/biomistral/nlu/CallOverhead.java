package org.biomistral.nlu;

import java.util.Collections;

/** What a call costs beside the engine: {@code java -Dbmn.model=FILE org.biomistral.nlu.CallOverhead}. */
public final class CallOverhead {
    private CallOverhead() {}

    /** Microseconds to read a schema of nothing and to free it: a text in, a handle out, two calls; the least of the rounds. */
    static double schema(int calls, int rounds) {
        return least(calls, rounds, () -> Schema.of("{}").close());
    }

    private static double least(int calls, int rounds, Runnable call) {
        double least = Double.POSITIVE_INFINITY;
        for (int round = 0; round < rounds; round++) {
            long start = System.nanoTime();
            for (int i = 0; i < calls; i++) {
                call.run();
            }
            least = Math.min(least, (System.nanoTime() - start) / 1e3 / calls);
        }
        return least;
    }

    public static void main(String[] arguments) {
        try (Model model = Model.open(System.getProperty("bmn.model")); Session session = model.session();
                Schema schema = Schema.of("{\"labels\": [\"drug\"]}")) {
            System.out.printf("%.2f us a call that only reads a version%n", least(20_000, 20, Model::version));
            System.out.printf("%.2f us a schema read and freed%n", schema(20_000, 20));
            double batch = least(20_000, 20, () -> session.extract(schema, Collections.emptyList(), null));
            System.out.printf("%.2f us a batch of no document, the library's part included%n", batch);
        }
    }
}

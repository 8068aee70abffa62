package org.biomistral.nlu.spark;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.length;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;

/**
 * Entities of a table of notes: {@code --notes IN --out DIR --model FILE --schema FILE}, and by choice
 * {@code --adapter DIR --windows true --device N --threads N --batch N --partitions N --wave N}; see docs/spark.md.
 *
 * <p>{@code DIR/results} grows by one folder per wave of notes, and a restart goes by it: a note whose id, text and system
 * (engine, weights, adapter, schema) are there is not read again. {@code DIR/note_nlp} is made from it at the end.
 */
public final class NoteNlp {
    private static final Set<String> OPTIONS = Set.of("notes", "out", "model", "schema", "adapter", "windows", "device",
            "threads", "batch", "partitions", "wave");

    private NoteNlp() {}

    public static void main(String[] arguments) throws IOException {
        Map<String, String> given = options(arguments);
        Extract.Config config = new Extract.Config(
                given.get("model"), given.get("adapter"), Files.readString(Path.of(given.get("schema"))),
                Boolean.parseBoolean(given.get("windows")), number(given, "device", -1), number(given, "threads", 0),
                number(given, "batch", 64));
        String results = given.get("out") + "/results";
        SparkSession spark = SparkSession.builder().appName("note_nlp").getOrCreate();
        // An executor names the system: the driver needs neither the library nor the model.
        String system = spark.range(0, 1, 1, 1).mapPartitions(
                (MapPartitionsFunction<Long, String>) ids -> List.of(Engine.of(config).system()).iterator(),
                Encoders.STRING()).first();

        spark.read().parquet(given.get("notes")).createOrReplaceTempView("source");
        Dataset<Row> notes = spark.sql(sql("notes.sql"));
        notes.createOrReplaceTempView("notes");
        long several = notes.groupBy("note_id").count().where("count > 1").count();
        if (several > 0) {
            throw new IllegalArgumentException("note_id: expected one row each, found " + several + " ids with more");
        }
        // So that there is a folder to read; later runs leave it.
        spark.createDataFrame(List.of(), Extract.RESULT).write().mode(SaveMode.Ignore).parquet(results + "/run=0");
        spark.read().parquet(results).createOrReplaceTempView("results");
        Dataset<Row> pending = spark.sql(sql("pending.sql"), Map.of("system", system));
        long left = pending.count();
        int size = number(given, "wave", 50_000);
        long waves = (left + size - 1) / size;
        int partitions = number(given, "partitions", 2 * spark.sparkContext().defaultParallelism());
        long run = System.currentTimeMillis();
        for (long wave = 0; wave < waves; wave++) {
            pending.where("pmod(xxhash64(note_id), " + waves + ") = " + wave)
                    .repartition(partitions, col("note_id"))
                    .sortWithinPartitions(length(col("note_text")).desc(), col("note_id"))
                    .mapPartitions(new Extract(config, system), Encoders.row(Extract.RESULT))
                    .write().parquet(results + "/run=" + run + "-" + wave);
            System.out.println("wave " + (wave + 1) + " of " + waves + " done");
        }

        spark.read().parquet(results).createOrReplaceTempView("results");
        spark.sql(sql("note_nlp.sql"), Map.of("system", system))
                .write().mode(SaveMode.Overwrite).parquet(given.get("out") + "/note_nlp");
        System.out.println("notes " + notes.count() + ", extracted now " + left + ", system " + system);
        spark.stop();
    }

    private static Map<String, String> options(String[] arguments) {
        Map<String, String> given = new HashMap<>();
        for (int i = 0; i < arguments.length; i += 2) {
            String name = arguments[i].replaceFirst("^--", "");
            if (!OPTIONS.contains(name) || i + 1 == arguments.length) {
                throw new IllegalArgumentException(arguments[i] + ": expected one of " + OPTIONS + " and its value");
            }
            given.put(name, arguments[i + 1]);
        }
        for (String name : List.of("notes", "out", "model", "schema")) {
            if (!given.containsKey(name)) {
                throw new IllegalArgumentException("--" + name + " is missing");
            }
        }
        return given;
    }

    private static int number(Map<String, String> given, String name, int otherwise) {
        return given.containsKey(name) ? Integer.parseInt(given.get(name)) : otherwise;
    }

    private static String sql(String name) throws IOException {
        try (InputStream file = NoteNlp.class.getResourceAsStream(name)) {
            return new String(file.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}

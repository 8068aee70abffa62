package org.biomistral.nlu.spark;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import org.biomistral.nlu.Model;
import org.biomistral.nlu.Schema;

/** The model of an executor: opened once per JVM, shared by its tasks, kept until the JVM ends. */
record Engine(Extract.Config config, Model model, Schema schema, String system) {
    private static Engine opened;

    /** The executor's engine; a second job of the same application with another configuration replaces it. */
    static synchronized Engine of(Extract.Config config) throws IOException {
        if (opened == null || !opened.config.equals(config)) {
            Model model = Model.open(config.model(), config.device(), config.threads(), null);
            if (config.adapter() != null) {
                model.setAdapter("adapter", config.adapter());
            }
            opened = new Engine(config, model, Schema.of(config.schema()), system(config, model));
        }
        return opened;
    }

    /** What an answer depends on besides the note: engine, weights, adapter, schema, windows. */
    private static String system(Extract.Config config, Model model) throws IOException {
        String weights = field(model.infoJson(), "weights");
        String adapter = config.adapter() == null
                ? ""
                : sha256(Files.readAllBytes(Path.of(config.adapter(), "adapter_model.safetensors")));
        String all = String.join("\n", Model.version(), weights, adapter, Boolean.toString(config.windows()), config.schema());
        return "biomistral-nlu " + Model.version() + " sha256:" + sha256(all.getBytes(StandardCharsets.UTF_8));
    }

    /** A field of a JSON object of the library's. */
    static String field(String json, String name) {
        try {
            return new ObjectMapper().readTree(json).get(name).asText();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("expected JSON of the library", e);
        }
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}

/**
 * Verbatim spans and exact choice probabilities from medical text.
 *
 * <pre>{@code
 * try (Model model = Model.open("model.gguf"); Session session = model.session(); Schema schema = Schema.of("{\"labels\": [\"drug\"]}")) {
 *     for (Span span : session.extract(schema, note).spans()) {
 *         assert note.substring(span.start(), span.end()).equals(span.text());
 *     }
 * }
 * }</pre>
 *
 * <p>Offsets are UTF-16 units, as {@link String} counts. Handles are closed by {@code try} or, where that was forgotten, when
 * they are no longer reachable. Every class may be used from any thread; a {@link Session} answers one call at a time and
 * lets others wait.
 */
package org.biomistral.nlu;

package org.biomistral.nlu;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The outcome of one document, with offsets in UTF-16 units. Holds no native memory. */
public final class Result {
    private static final int UTF16 = 2;
    private static final int SPAN = 64;
    private static final int LINK = 48;
    private static final int SCORE = 32;

    private final Status status;
    private final List<Span> spans = new ArrayList<>();
    private final List<Link> links = new ArrayList<>();
    private final List<Score> scores = new ArrayList<>();
    private final String label;
    private final double number;
    private final double outsideMass;
    private final String json;

    /** Reads what {@code result} points to; a span that is not the text of {@code document} at its offsets is refused. */
    Result(long result, int status, String document) {
        this.status = Status.of(status);
        try (Block row = new Block(SPAN); Block error = new Block(8)) {
            long out = row.address();
            long err = error.address();
            for (long i = 0, n = Library.bmn_result_span_count(result); i < n; i++) {
                row.putInt(0, SPAN);
                Calls.check(Library.bmn_result_span(result, i, UTF16, out, err), error.getLong(0));
                int start = verbatim(document, row.getLong(8), row.getLong(16), Block.string(row.getLong(32), row.getLong(40)));
                int end = Math.toIntExact(row.getLong(16));
                spans.add(new Span(
                        start, end, Block.string(row.getLong(24)), document.substring(start, end), row.getDouble(48),
                        row.getDouble(56)));
            }
            for (long i = 0, n = Library.bmn_result_link_count(result); i < n; i++) {
                row.putInt(0, LINK);
                Calls.check(Library.bmn_result_link(result, i, out, err), error.getLong(0));
                long value = row.getLong(32);
                links.add(new Link(
                        Link.Kind.values()[row.getInt(8)], row.getInt(12), row.getInt(16), Block.string(row.getLong(24)),
                        value == 0 ? null : Block.string(value), row.getDouble(40)));
            }
            for (long i = 0, n = Library.bmn_result_score_count(result); i < n; i++) {
                row.putInt(0, SCORE);
                Calls.check(Library.bmn_result_score(result, i, out, err), error.getLong(0));
                scores.add(new Score(
                        row.getInt(4), Block.string(row.getLong(8)), row.getDouble(16), row.getDouble(24)));
            }
        }
        label = Block.string(Library.bmn_result_label(result));
        number = Library.bmn_result_number(result);
        outsideMass = Library.bmn_result_outside_mass(result);
        json = Block.string(Library.bmn_result_json(result, UTF16));
    }

    /** {@code start}, where {@code text} stands in {@code document} from there to {@code end}. */
    static int verbatim(String document, long start, long end, String text) {
        if (start < 0 || end > document.length() || end != start + text.length() || !document.startsWith(text, Math.toIntExact(start))) {
            throw new NluException(Status.INTERNAL, "span " + start + "-" + end + ": expected the text between its offsets");
        }
        return (int) start;
    }

    /** Whether the document was answered; {@link #json} says why not. */
    public Status status() {
        return status;
    }

    /** Entities, or triggers and arguments. */
    public List<Span> spans() {
        return Collections.unmodifiableList(spans);
    }

    /** Relations, arguments, attributes. */
    public List<Link> links() {
        return Collections.unmodifiableList(links);
    }

    /** Options with their probabilities. */
    public List<Score> scores() {
        return Collections.unmodifiableList(scores);
    }

    /** The chosen option; empty where none was chosen. */
    public String label() {
        return label;
    }

    /** The expected score of {@link Session#similar}; NaN else. */
    public double number() {
        return number;
    }

    /** Probability of saying something that is none of the options; NaN where none were scored. */
    public double outsideMass() {
        return outsideMass;
    }

    /** The whole result, with provenance. */
    public String json() {
        return json;
    }
}

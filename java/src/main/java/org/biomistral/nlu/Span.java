package org.biomistral.nlu;

/** {@code document.substring(start, end).equals(text)}, always. */
public final class Span {
    private final int start;
    private final int end;
    private final String label;
    private final String text;
    private final double logprob;
    private final double keptMass;

    Span(int start, int end, String label, String text, double logprob, double keptMass) {
        this.start = start;
        this.end = end;
        this.label = label;
        this.text = text;
        this.logprob = logprob;
        this.keptMass = keptMass;
    }

    /** First UTF-16 unit. */
    public int start() {
        return start;
    }

    /** UTF-16 unit after the last. */
    public int end() {
        return end;
    }

    /** Label, role or trigger type. */
    public String label() {
        return label;
    }

    /** The text itself. */
    public String text() {
        return text;
    }

    /** Natural log of the probability that the model gave the span; NaN without scores. */
    public double logprob() {
        return logprob;
    }

    /** Least share of the model's probability that the constraint left at any token; NaN without scores. */
    public double keptMass() {
        return keptMass;
    }
}

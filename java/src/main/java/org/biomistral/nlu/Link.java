package org.biomistral.nlu;

/** A relation between spans, an event's argument, or an event's attribute. */
public final class Link {
    /** What a link is; in the order of {@code BMN_LINK_…}. */
    public enum Kind {
        /** Between two entities. */
        RELATION,
        /** From a trigger to an argument. */
        ARGUMENT,
        /** Of a trigger: a name and a value. */
        ATTRIBUTE
    }

    private final Kind kind;
    private final int from;
    private final int to;
    private final String label;
    private final String value;
    private final double probability;

    Link(Kind kind, int from, int to, String label, String value, double probability) {
        this.kind = kind;
        this.from = from;
        this.to = to;
        this.label = label;
        this.value = value;
        this.probability = probability;
    }

    /** What it is. */
    public Kind kind() {
        return kind;
    }

    /** Index of the span it goes from: head or trigger. */
    public int from() {
        return from;
    }

    /** Index of the span it goes to; -1 for an attribute. */
    public int to() {
        return to;
    }

    /** Relation, role or name of the attribute. */
    public String label() {
        return label;
    }

    /** Value of an attribute; null for others. */
    public String value() {
        return value;
    }

    /** Probability among the options; NaN for an argument. */
    public double probability() {
        return probability;
    }
}

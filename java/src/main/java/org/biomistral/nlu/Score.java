package org.biomistral.nlu;

/** An option with its probability. */
public final class Score {
    private final int link;
    private final String label;
    private final double probability;
    private final double logprob;

    Score(int link, String label, double probability, double logprob) {
        this.link = link;
        this.label = label;
        this.probability = probability;
        this.logprob = logprob;
    }

    /** Index of the link whose option it is; -1 for the document's own. */
    public int link() {
        return link;
    }

    /** The option. */
    public String label() {
        return label;
    }

    /** Probability among the options. */
    public double probability() {
        return probability;
    }

    /** Natural log of the probability before normalising over the options. */
    public double logprob() {
        return logprob;
    }
}

package org.biomistral.nlu;

/** What is asked for: labels, classes, events, relations. */
public final class Schema extends Handle {
    private Schema(long pointer) {
        super(pointer, Library::bmn_schema_free);
    }

    /** Reads {@code {"labels": [...], "classes": [...], "events": [...], "relations": [...]}}, each optional. */
    public static Schema of(String json) {
        try (Block text = Block.utf8(json)) {
            return new Schema(Calls.make((out, err)
                    -> Library.bmn_schema_from_json(text.address(), text.size() - 1, out, err)));
        }
    }
}

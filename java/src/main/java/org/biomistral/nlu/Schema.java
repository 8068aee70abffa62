package org.biomistral.nlu;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;

/** What is asked for: labels, classes, events, relations. */
public final class Schema extends Handle {
    private Schema(Pointer pointer) {
        super(pointer, Library::bmn_schema_free);
    }

    /** Reads {@code {"labels": [...], "classes": [...], "events": [...], "relations": [...]}}, each optional. */
    public static Schema of(String json) {
        Memory text = Calls.utf8(json);
        PointerByReference out = new PointerByReference();
        PointerByReference err = new PointerByReference();
        Calls.check(Library.bmn_schema_from_json(text, text.size() - 1, out, err), err);
        return new Schema(out.getValue());
    }
}

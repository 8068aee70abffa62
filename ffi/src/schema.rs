//! What is asked for.

use crate::error::bmn_error;
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::memory::{self, bmn_str};
use crate::status::bmn_status;
use engine::task::Schema;
use std::ffi::c_char;

/// Labels, classes, events and relations that are asked for; immutable, shared by any number of threads.
pub struct bmn_schema {
    tagged: Tagged<Schema>,
}
handle_type!(bmn_schema, Schema, 0x626d_6e73_6368_656d);

/// Reads a schema: `{"labels": [...], "classes": [...], "events": [...], "relations": [...]}`, each optional.
///
/// A label is a string or `{"name", "description"}`; an event has `arguments` and `attributes` besides; a relation has
/// `head` and `tail`, lists of labels. An unknown key is an error that names it.
/// On success `*out` is a schema to free with `bmn_schema_free`. Threads: any. Since 0.1.
///
/// # Safety
/// `json` points to `len` bytes; `out` to a place; `err` to a place or NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_schema_from_json(
    json: *const c_char,
    len: usize,
    out: *mut *mut bmn_schema,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let schema = Schema::from_json(memory::text(bmn_str { ptr: json, len }, "json")?)?;
            memory::put(out, bmn_schema::give(schema));
            Ok(())
        })
    }
}

/// Frees a schema; NULL is allowed. Runs that were started with it are not touched.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `schema` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_schema_free(schema: *mut bmn_schema) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(schema) }
}

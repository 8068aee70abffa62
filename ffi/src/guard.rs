//! Every entry: a panic becomes `BMN_E_INTERNAL`, a failure becomes a status and an error object.

use crate::error::{Failure, bmn_error};
use crate::status::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Runs the body of an entry point. On failure, `*err` gets an error object if `err` is given.
///
/// # Safety
/// `err` is NULL or points to a place for a pointer.
pub(crate) unsafe fn enter(err: *mut *mut bmn_error, body: impl FnOnce() -> Result<(), Failure>) -> bmn_status {
    be_silent();
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return BMN_OK,
        Ok(Err(failure)) => failure,
        // What a panic says may hold anything; it is dropped.
        Err(_) => Failure::new(BMN_E_INTERNAL, "internal error: a broken invariant of the library"),
    };
    let status = failure.status;
    if !err.is_null() && err.is_aligned() {
        // SAFETY: not NULL; the caller promises a place.
        unsafe { err.write(bmn_error::of(failure)) };
    }
    status
}

/// Runs the body of an entry point that has no status: `fallback` where it panics.
pub(crate) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    be_silent();
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// The default hook prints a panic's text, which may hold a patient's; this library's copy of the standard library gets one
/// that prints nothing. A Rust host has its own copy and keeps its own hook.
fn be_silent() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

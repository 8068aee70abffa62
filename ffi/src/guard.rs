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
    let outcome = catch_unwind(AssertUnwindSafe(body));
    clear_vectors();
    let failure = match outcome {
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
    let value = catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback);
    clear_vectors();
    value
}

/// Zeroes the vector registers. Texts are copied through them, up to 64 bytes at a time, and few programs overwrite the upper sixteen;
/// a core file holds every thread's registers, also where it leaves memory out.
#[inline(never)]
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn clear_vectors() {
    use std::arch::asm;
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512, and all that is written is declared overwritten.
        unsafe {
            asm!(
                ".irp n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "vpxord zmm\\n, zmm\\n, zmm\\n",
                ".endr",
                "vzeroall",
                clobber_abi("C"),
                options(nomem, nostack, preserves_flags)
            )
        }
    } else if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX; as above.
        unsafe { asm!("vzeroall", clobber_abi("C"), options(nomem, nostack, preserves_flags)) }
    } else {
        // SAFETY: every x86-64 processor has SSE2; as above.
        unsafe {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "pxor xmm\\n, xmm\\n",
                ".endr",
                clobber_abi("C"),
                options(nomem, nostack, preserves_flags)
            )
        }
    }
}

/// Other processors, and Miri, which knows no assembly: nothing is cleared.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn clear_vectors() {}

/// The default hook prints a panic's text, which may hold a patient's; this library's copy of the standard library gets one
/// that prints nothing. A Rust host has its own copy and keeps its own hook.
fn be_silent() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

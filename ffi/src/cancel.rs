//! Stopping a run from another thread.

use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::memory;
use engine::task::Cancel;

/// A flag that stops the runs it was given to. Every function may be called from any thread at any time.
pub struct bmn_cancel {
    tagged: Tagged<Cancel>,
}
handle_type!(bmn_cancel, Cancel, 0x626d_6e63_616e_636c);

/// An untriggered flag.
///
/// Returns a handle to free with `bmn_cancel_free`, NULL where there is no memory. Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn bmn_cancel_new() -> *mut bmn_cancel {
    guard::value(std::ptr::null_mut(), || bmn_cancel::give(Cancel::new()))
}

/// Stops the runs that hold the flag: one atomic store, safe in a signal handler. NULL is ignored.
///
/// Documents not done get `BMN_E_CANCELLED`. Threads: any. Since 0.1.
///
/// # Safety
/// `cancel` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_cancel_trigger(cancel: *const bmn_cancel) {
    // SAFETY: the caller passes NULL or a live handle.
    if let Ok(cancel) = unsafe { memory::handle(cancel, "cancel") } {
        cancel.trigger();
    }
}

/// Makes a triggered flag usable again. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `cancel` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_cancel_reset(cancel: *const bmn_cancel) {
    // SAFETY: as above.
    if let Ok(cancel) = unsafe { memory::handle(cancel, "cancel") } {
        cancel.reset();
    }
}

/// Frees a flag; runs that hold it go on as if it were never triggered. NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `cancel` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_cancel_free(cancel: *mut bmn_cancel) {
    // SAFETY: as above.
    unsafe { memory::free(cancel) }
}

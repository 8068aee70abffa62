//! Why a call failed: a status and one sentence, which never holds document text.

use crate::handle::{Handle, Tagged, handle_type};
use crate::memory;
use crate::status::*;
use std::ffi::{CString, c_char};

/// A failed call, before it is handed over.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: bmn_status,
    pub message: String,
}

impl Failure {
    pub fn new(status: bmn_status, message: impl Into<String>) -> Self {
        Failure { status, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(BMN_E_INVALID_ARGUMENT, message)
    }
}

/// The status of an engine error.
pub(crate) fn status_of(error: &engine::Error) -> bmn_status {
    match error {
        engine::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => BMN_E_NOT_FOUND,
        error => error.code(),
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        Failure { status: status_of(&error), message: error.to_string() }
    }
}

/// Why a call failed. Freed by the caller with `bmn_error_free`.
pub struct bmn_error {
    tagged: Tagged<ErrorParts>,
}
handle_type!(bmn_error, ErrorParts, 0x626d_6e65_7272_6f72);

pub(crate) struct ErrorParts {
    status: bmn_status,
    message: CString,
}

impl bmn_error {
    pub(crate) fn of(failure: Failure) -> *mut bmn_error {
        // A message comes from names and numbers; a zero byte in a name ends it early rather than losing it.
        let message = CString::new(failure.message.split('\0').next().unwrap_or_default()).unwrap_or_default();
        bmn_error::give(ErrorParts { status: failure.status, message })
    }
}

/// The status that the failed call returned.
///
/// Returns `BMN_E_INVALID_ARGUMENT` for NULL. Threads: any. Since 0.1.
///
/// # Safety
/// `error` is NULL or a live error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_error_status(error: *const bmn_error) -> bmn_status {
    // SAFETY: the caller passes NULL or a live handle, as the header asks.
    unsafe { memory::handle(error, "error") }.map_or(BMN_E_INVALID_ARGUMENT, |error| error.status)
}

/// One sentence that names the thing, what was expected and what was found; never document text.
///
/// Returns a string that lives as long as the error, or NULL for NULL. Threads: any. Since 0.1.
///
/// # Safety
/// `error` is NULL or a live error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_error_message(error: *const bmn_error) -> *const c_char {
    // SAFETY: as above.
    unsafe { memory::handle(error, "error") }.map_or(std::ptr::null(), |error| error.message.as_ptr())
}

/// Frees an error; NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `error` is NULL or a live error, which ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_error_free(error: *mut bmn_error) {
    // SAFETY: as above.
    unsafe { memory::free(error) }
}

//! What happens, told to the host: levels, targets and messages that never hold text of a document.

use std::ffi::{CString, c_char, c_void};

/// Receives log lines; may be called from any thread that calls the library, and must not call back into it.
///
/// `target` is a short topic ("model", "adapter", "run"), `message` one line. Both are valid during the call only.
pub type bmn_log_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, target: *const c_char, message: *const c_char)>;

/// Something failed.
pub const BMN_LOG_ERROR: i32 = 1;
/// Something to look at.
pub const BMN_LOG_WARN: i32 = 2;
/// What was loaded, swapped, closed.
pub const BMN_LOG_INFO: i32 = 3;
/// Every run, with its duration.
pub const BMN_LOG_DEBUG: i32 = 4;

/// The host's log callback, if any.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub call: bmn_log_fn,
    pub user_data: *mut c_void,
    pub level: i32,
}

// SAFETY: `user_data` is only handed back to `call`, which the header asks to accept calls from any thread.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// Tells the host, if it wants this level.
    pub fn tell(&self, level: i32, target: &str, message: impl FnOnce() -> String) {
        let Some(call) = self.call.filter(|_| level <= self.level) else { return };
        let (Ok(target), Ok(message)) = (CString::new(target), CString::new(message())) else { return };
        // SAFETY: the host gave the function and promised that it can be called with its `user_data` from any thread.
        unsafe { call(self.user_data, level, target.as_ptr(), message.as_ptr()) }
    }
}

//! One thread's work on a model.

use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::memory;
use crate::model::{Model, bmn_model};
use crate::status::*;
use engine::task::Session;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// A session with its model.
pub(crate) struct Worker {
    pub model: Arc<Model>,
    session: Mutex<Session>,
}

impl Worker {
    /// The session, unless another thread is using it.
    pub fn session(&self) -> Result<MutexGuard<'_, Session>, Failure> {
        match self.session.try_lock() {
            Ok(session) => Ok(session),
            Err(TryLockError::WouldBlock) => Err(Failure::new(BMN_E_BUSY, "session: another thread is using it")),
            // A run that broke an invariant left the cache in a state that nobody knows.
            Err(TryLockError::Poisoned(_)) => {
                Err(Failure::new(BMN_E_INTERNAL, "session: a run before this one broke it; open another one"))
            }
        }
    }
}

/// Cache and scratch of one run at a time. Any thread may use it; two at once get `BMN_E_BUSY`.
pub struct bmn_session {
    tagged: Tagged<Arc<Worker>>,
}
handle_type!(bmn_session, Arc<Worker>, 0x626d_6e73_6573_7369);

/// Opens a session on `model`.
///
/// On success `*out` is a session to free with `bmn_session_free`. Threads: any. Since 0.1.
///
/// # Safety
/// `model` is live; `out` points to a place; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_session_new(
    model: *const bmn_model,
    out: *mut *mut bmn_session,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let model = memory::handle(model, "model")?;
            let session = Mutex::new(model.engine.session()?);
            memory::put(out, bmn_session::give(Arc::new(Worker { model: Arc::clone(model), session })));
            Ok(())
        })
    }
}

/// Frees a session; NULL is allowed. No call may be using it.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `session` is NULL or live and unused, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_session_free(session: *mut bmn_session) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(session) }
}

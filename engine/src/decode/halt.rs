//! When open requests end before they are answered.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A flag that any thread may set and a moment that may pass; both are looked at before every pass of the model.
#[derive(Debug, Clone, Default)]
pub struct Halt {
    /// Set: open requests end with [`Error::Cancelled`].
    pub flag: Option<Arc<AtomicBool>>,
    /// Passed: open requests end with [`Error::TimedOut`].
    pub deadline: Option<Instant>,
}

impl Halt {
    /// Whether to go on; not where memory has run out either.
    pub fn check(&self) -> Result<()> {
        crate::reserve::check()?;
        if self.flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Error::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::TimedOut),
            _ => Ok(()),
        }
    }
}

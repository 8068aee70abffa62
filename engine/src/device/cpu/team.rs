//! Work shared by the threads of a device.

use crate::Result;
use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose disjoint parts are written by different tasks.
pub struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Parts` is a `&mut [T]` that is taken apart; `range` leaves disjointness to its caller.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes `slice` apart.
    pub fn new(slice: &'a mut [T]) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// The elements in `range`.
    ///
    /// # Safety
    /// No two live results of this function overlap.
    ///
    /// # Panics
    /// If `range` does not lie in the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: in bounds by the assertion, not aliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// The threads of one device.
pub struct Team {
    threads: usize,
}

impl Team {
    /// A team of `threads`, the caller's included.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Team { threads })
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Keeps the threads at hand while `run` runs on the calling thread.
    pub fn pass<R>(&self, run: impl FnOnce() -> R) -> R {
        run()
    }

    /// Calls `task(0) .. task(tasks - 1)`, each once, on any thread, and returns when all are done. A panic in a task is
    /// [`crate::Error::Internal`].
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) -> Result<()> {
        (0..tasks).for_each(task);
        Ok(())
    }
}

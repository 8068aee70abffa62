//! NVTX ranges for Nsight Systems, behind the feature `nvtx`; without it, or without the library, they are nothing.

/// A range of this thread, until dropped.
#[cfg(feature = "nvtx")]
pub(super) struct Range {
    _open: Option<cudarc::nvtx::Range>,
}

#[cfg(feature = "nvtx")]
pub(super) fn range(name: &'static str) -> Range {
    static THERE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    // SAFETY: loads the tool's library, whose initialisers ask for nothing; cudarc would panic at its first call without it.
    let there = *THERE.get_or_init(|| unsafe { cudarc::nvtx::sys::is_culib_present() });
    Range { _open: there.then(|| cudarc::nvtx::scoped_range(name)) }
}

#[cfg(not(feature = "nvtx"))]
pub(super) struct Range;

#[cfg(not(feature = "nvtx"))]
pub(super) fn range(_name: &'static str) -> Range {
    Range
}

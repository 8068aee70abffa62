//! Merging models and adapters into one.

use crate::cancel::bmn_cancel;
use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::memory::{self, Sized32};
use crate::run::bmn_progress_fn;
use crate::status::*;
use engine::weights::{MergeOptions, MergeSource, merge_adapters, merge_models};
use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};

/// A source that is a fine-tuned model of the base's shape: folder or `.gguf` file.
pub const BMN_MERGE_MODEL: u32 = 0;
/// A source that is a PEFT LoRA folder.
pub const BMN_MERGE_ADAPTER: u32 = 1;

/// Differences that are not dropped stay as they are, instead of being divided by `1 - drop`.
pub const BMN_MERGE_NO_RESCALE: u32 = 1;
/// The result is one adapter; all sources must be adapters.
pub const BMN_MERGE_AS_ADAPTER: u32 = 2;

/// What is added to the base.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_merge_source {
    /// Folder or file, NUL-terminated.
    pub path: *const c_char,
    /// Weight of its difference from the base; -1 takes a merged adapter out again, up to rounding.
    pub weight: f64,
    /// `BMN_MERGE_MODEL` or `BMN_MERGE_ADAPTER`.
    pub kind: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// How sources are merged; `bmn_merge_options_init` sets the defaults, and a NULL pointer means them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_merge_options {
    /// `sizeof(bmn_merge_options)`.
    pub struct_size: u32,
    /// `BMN_MERGE_NO_RESCALE`, `BMN_MERGE_AS_ADAPTER`, added up.
    pub flags: u32,
    /// Share of each difference that is dropped at random (DARE); default 0.
    pub drop: f64,
    /// Decides what is dropped.
    pub seed: u64,
    /// Flag that stops the merge; NULL: none. It must live until the call returns.
    pub cancel: *const bmn_cancel,
    /// Called after each tensor with the bytes done and of all; NULL: not. Non-zero stops the merge.
    pub progress: bmn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
}

// SAFETY: plain data; every bit pattern of its fields is valid. First field is the size.
unsafe impl Sized32 for bmn_merge_options {
    fn fresh() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            flags: 0,
            drop: 0.0,
            seed: 0,
            cancel: std::ptr::null(),
            progress: None,
            progress_user_data: std::ptr::null_mut(),
        }
    }
}

/// Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_merge_options)` of the caller's header. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or points to `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_merge_options_init(options: *mut bmn_merge_options, struct_size: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::init(options, struct_size) }
}

/// Writes `base` plus the weighted differences of `n` sources as the new folder `folder`, tensor by tensor; `options` may be NULL.
///
/// The folder appears whole or not at all, with `merge.json`, which says what it was made of. A base that is a `.gguf` file has
/// no tokenizer that could be copied; that of a folder is.
/// Errors: `BMN_E_INVALID_ARGUMENT` (a folder that exists, a misshaped tensor, weights or shares that make no sense),
/// `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT` (a source that is made for another model, by tensor),
/// `BMN_E_UNSUPPORTED`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_CANCELLED`. Threads: any. Since 0.1.
///
/// # Safety
/// `base`, `folder` and the sources' paths are NUL-terminated; `sources` points to `n` items; `options` is NULL or as large as it
/// says; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_merge(
    base: *const c_char,
    sources: *const bmn_merge_source,
    n: usize,
    options: *const bmn_merge_options,
    folder: *const c_char,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let (base, folder) = (memory::string(base, "base")?, memory::string(folder, "folder")?);
            let given = memory::slice(sources, n, "sources")?;
            let options: bmn_merge_options = memory::options(options, "options")?;
            if options.flags & !(BMN_MERGE_NO_RESCALE | BMN_MERGE_AS_ADAPTER) != 0 {
                return Err(Failure::invalid(format!(
                    "options.flags: expected BMN_MERGE_*, found {:#x}",
                    options.flags
                )));
            }
            let cancel = memory::optional(options.cancel, "options.cancel")?;
            let mut sources = Vec::with_capacity(given.len());
            for (i, source) in given.iter().enumerate() {
                let path = PathBuf::from(memory::string(source.path, &format!("sources[{i}].path"))?);
                let source_kind = match (source.kind, source.reserved) {
                    (BMN_MERGE_MODEL, 0) => MergeSource::Model(path),
                    (BMN_MERGE_ADAPTER, 0) => MergeSource::Adapter(path),
                    (kind, 0) => {
                        let why =
                            format!("sources[{i}].kind: expected BMN_MERGE_MODEL or BMN_MERGE_ADAPTER, found {kind}");
                        return Err(Failure::invalid(why));
                    }
                    (_, other) => {
                        return Err(Failure::invalid(format!("sources[{i}].reserved: expected 0, found {other}")));
                    }
                };
                sources.push((source_kind, source.weight));
            }
            let rescale = options.flags & BMN_MERGE_NO_RESCALE == 0;
            let merge = MergeOptions { sources, drop: options.drop, rescale, seed: options.seed };
            let (base, folder) = (Path::new(base), Path::new(folder));
            if options.flags & BMN_MERGE_AS_ADAPTER != 0 {
                return Ok(merge_adapters(base, &merge, folder)?);
            }
            merge_models(base, &merge, folder, &mut |done, of| {
                // The caller gave the function and what it is to be called with.
                let stop = options.progress.is_some_and(|tell| tell(options.progress_user_data, done, of) != 0);
                !stop && !cancel.is_some_and(engine::task::Cancel::is_triggered)
            })?;
            Ok(())
        })
    }
}

//! Where models run and whom the library tells.

use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::log::{BMN_LOG_INFO, Log, bmn_log_fn};
use crate::memory::{self, Sized32};
use crate::status::*;
use engine::device::DeviceChoice;
use std::ffi::c_void;
use std::sync::Arc;

/// The processor.
pub const BMN_DEVICE_CPU: i32 = -1;
/// The first CUDA device where there is one that works, else the processor.
pub const BMN_DEVICE_AUTO: i32 = -2;

/// Settings of a runtime; `bmn_runtime_options_init` sets the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_runtime_options {
    /// `sizeof(bmn_runtime_options)`.
    pub struct_size: u32,
    /// `BMN_DEVICE_CPU` (default), `BMN_DEVICE_AUTO`, or the ordinal of a CUDA device.
    pub device: i32,
    /// Threads that a model computes with; 0: one per core.
    pub threads: u32,
    /// Most verbose level that `log` wants; default `BMN_LOG_INFO`.
    pub log_level: i32,
    /// Bytes that weights, the cache of one session at the whole context and activations may need together; a model beyond is
    /// refused with `BMN_E_OUT_OF_MEMORY`, with the figures. 0: what there is.
    pub memory_limit: u64,
    /// Receives log lines; NULL: none are made.
    pub log: bmn_log_fn,
    /// Handed to `log`.
    pub log_user_data: *mut c_void,
}

// SAFETY: plain data; every bit pattern of its integers and pointers is valid (`log` is a nullable function pointer that the
// caller sets). First field is the size.
unsafe impl Sized32 for bmn_runtime_options {
    fn fresh() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            device: BMN_DEVICE_CPU,
            threads: 0,
            log_level: BMN_LOG_INFO,
            memory_limit: 0,
            log: None,
            log_user_data: std::ptr::null_mut(),
        }
    }
}

/// What models of one runtime share.
pub(crate) struct Runtime {
    pub device: DeviceChoice,
    pub threads: Option<usize>,
    pub memory_limit: Option<u64>,
    pub log: Log,
}

/// Device, threads and log of the models opened with it; immutable, shared by any number of threads.
pub struct bmn_runtime {
    tagged: Tagged<Arc<Runtime>>,
}
handle_type!(bmn_runtime, Arc<Runtime>, 0x626d_6e72_756e_7469);

/// Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_runtime_options)` of the caller's header. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or points to `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_runtime_options_init(options: *mut bmn_runtime_options, struct_size: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::init(options, struct_size) }
}

/// Makes a runtime. `options` may be NULL for the defaults.
///
/// On success `*out` is a runtime to free with `bmn_runtime_free`; models keep what they need of it.
/// Errors: `BMN_E_INVALID_ARGUMENT`, `BMN_E_ABI`. Whether the device is there is seen when a model is opened. Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or as large as it says; `out` points to a place; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_runtime_new(
    options: *const bmn_runtime_options,
    out: *mut *mut bmn_runtime,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let options = memory::options(options, "options")?;
            if options.device < BMN_DEVICE_AUTO {
                let found = options.device;
                return Err(Failure::invalid(format!("options.device: expected -2, -1 or an ordinal, found {found}")));
            }
            if options.threads > 4096 {
                let found = options.threads;
                return Err(Failure::invalid(format!("options.threads: expected at most 4096, found {found}")));
            }
            let runtime = Runtime {
                device: match usize::try_from(options.device) {
                    Ok(ordinal) => DeviceChoice::Cuda(ordinal),
                    Err(_) if options.device == BMN_DEVICE_AUTO => DeviceChoice::Auto,
                    Err(_) => DeviceChoice::Cpu,
                },
                threads: (options.threads > 0).then_some(options.threads as usize),
                memory_limit: (options.memory_limit > 0).then_some(options.memory_limit),
                log: Log { call: options.log, user_data: options.log_user_data, level: options.log_level },
            };
            memory::put(out, bmn_runtime::give(Arc::new(runtime)));
            Ok(())
        })
    }
}

/// Frees a runtime; models opened with it stay usable and keep its log. NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `runtime` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_runtime_free(runtime: *mut bmn_runtime) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(runtime) }
}

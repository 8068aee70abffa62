//! Statuses: fixed numbers, so that a binding needs no compiler to know them.

/// Outcome of a call: `BMN_OK` or one of `BMN_E_*`. The numbers never change.
pub type bmn_status = i32;

/// Done.
pub const BMN_OK: i32 = 0;
/// An argument that cannot be used: NULL where a pointer is due, a number out of range, a name that is not known.
pub const BMN_E_INVALID_ARGUMENT: i32 = 1;
/// Text that is not UTF-8; the message names the byte.
pub const BMN_E_INVALID_UTF8: i32 = 2;
/// A file or folder that does not exist.
pub const BMN_E_NOT_FOUND: i32 = 3;
/// A file that cannot be read or written.
pub const BMN_E_IO: i32 = 4;
/// A model, adapter or tokenizer file that cannot be understood.
pub const BMN_E_MODEL_FORMAT: i32 = 5;
/// Weights that are not those expected.
pub const BMN_E_INTEGRITY: i32 = 6;
/// Something this library does not do.
pub const BMN_E_UNSUPPORTED: i32 = 7;
/// More tokens than the context holds, or a text of 2 GiB.
pub const BMN_E_TOO_LONG: i32 = 8;
/// No such device, or no driver for it.
pub const BMN_E_NO_DEVICE: i32 = 9;
/// Not enough memory, or more than the limit set.
pub const BMN_E_OUT_OF_MEMORY: i32 = 10;
/// A device that failed.
pub const BMN_E_DEVICE: i32 = 11;
/// Stopped by a cancel handle or by a progress callback.
pub const BMN_E_CANCELLED: i32 = 12;
/// A session that another thread is using.
pub const BMN_E_BUSY: i32 = 13;
/// A struct of a size that this library does not know.
pub const BMN_E_ABI: i32 = 14;
/// Not done within `timeout_ms`.
pub const BMN_E_TIMEOUT: i32 = 16;
/// A broken invariant of the library itself.
pub const BMN_E_INTERNAL: i32 = 100;

/// Every status with its name as a C string.
pub(crate) const NAMES: [(bmn_status, &std::ffi::CStr); 17] = [
    (BMN_OK, c"BMN_OK"),
    (BMN_E_INVALID_ARGUMENT, c"BMN_E_INVALID_ARGUMENT"),
    (BMN_E_INVALID_UTF8, c"BMN_E_INVALID_UTF8"),
    (BMN_E_NOT_FOUND, c"BMN_E_NOT_FOUND"),
    (BMN_E_IO, c"BMN_E_IO"),
    (BMN_E_MODEL_FORMAT, c"BMN_E_MODEL_FORMAT"),
    (BMN_E_INTEGRITY, c"BMN_E_INTEGRITY"),
    (BMN_E_UNSUPPORTED, c"BMN_E_UNSUPPORTED"),
    (BMN_E_TOO_LONG, c"BMN_E_TOO_LONG"),
    (BMN_E_NO_DEVICE, c"BMN_E_NO_DEVICE"),
    (BMN_E_OUT_OF_MEMORY, c"BMN_E_OUT_OF_MEMORY"),
    (BMN_E_DEVICE, c"BMN_E_DEVICE"),
    (BMN_E_CANCELLED, c"BMN_E_CANCELLED"),
    (BMN_E_BUSY, c"BMN_E_BUSY"),
    (BMN_E_ABI, c"BMN_E_ABI"),
    (BMN_E_TIMEOUT, c"BMN_E_TIMEOUT"),
    (BMN_E_INTERNAL, c"BMN_E_INTERNAL"),
];

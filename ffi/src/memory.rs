//! The caller's memory: the one place that turns raw pointers into references and writes through them.
//!
//! Every function checks what can be checked: NULL, alignment, a length beyond the address space, a handle's tag. What
//! cannot be checked - that the memory is really there, and lives as long as the header says - is the caller's promise.

use crate::error::Failure;
use crate::handle::Handle;
use crate::status::*;
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a text that the engine counts in; a longer one is refused before it is read.
const LONGEST: usize = i32::MAX as usize;

/// Text as the caller gives it: `len` bytes of UTF-8 at `ptr`, no final NUL needed.
///
/// An empty text may have a NULL `ptr`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_str {
    /// First byte.
    pub ptr: *const c_char,
    /// Number of bytes.
    pub len: usize,
}

/// A struct that begins with its size, so that it can grow.
///
/// # Safety
/// `repr(C)`, plain old data valid for any bytes its setters write, first field `u32` struct size.
pub(crate) unsafe trait Sized32: Copy {
    /// What an old caller's missing fields are taken for.
    fn fresh() -> Self;
}

/// The handle at `ptr`.
///
/// # Safety
/// `ptr` is NULL or was given out by this library for this kind and not freed. Other kinds of its handles are recognised.
pub(crate) unsafe fn handle<'a, H: Handle + 'a>(ptr: *const H, what: &str) -> Result<&'a H::Inner, Failure> {
    check(ptr, what)?;
    // SAFETY: not NULL and aligned; the caller promises a handle, whose first field is the tag.
    let tag = unsafe { &*ptr.cast::<AtomicU64>() };
    match tag.load(Ordering::Relaxed) == H::TAG {
        // SAFETY: the tag says that this is a live handle of the kind.
        true => Ok(&unsafe { &*ptr }.tagged().inner),
        false => Err(Failure::invalid(format!("{what}: expected a live handle of its kind, found another pointer"))),
    }
}

/// The handle at `ptr`, or nothing at NULL.
///
/// # Safety
/// As for [`handle`].
pub(crate) unsafe fn optional<'a, H: Handle + 'a>(ptr: *const H, what: &str) -> Result<Option<&'a H::Inner>, Failure> {
    if ptr.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { handle(ptr, what) }.map(Some)
}

/// Ends the handle at `ptr`. NULL and pointers that are not live handles of this kind are left alone.
///
/// # Safety
/// As for [`handle`]; nobody uses it any more.
pub(crate) unsafe fn free<H: Handle>(ptr: *mut H) {
    // SAFETY: the caller's promise.
    if unsafe { handle(ptr, "handle") }.is_err() {
        return;
    }
    // The tag goes first, so that a second free of memory not yet reused finds none.
    // SAFETY: a live handle, as just checked.
    if unsafe { &*ptr }.tagged().tag.swap(0, Ordering::SeqCst) != H::TAG {
        return;
    }
    // SAFETY: a live handle was made by `Box::into_raw` in `give`, and only the swap that found its tag comes here.
    let handle = unsafe { Box::from_raw(ptr) };
    // A destructor that panicked would cross into the caller.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(handle)));
}

fn check<T>(ptr: *const T, what: &str) -> Result<(), Failure> {
    match (ptr.is_null(), ptr.is_aligned()) {
        (true, _) => Err(Failure::invalid(format!("{what}: expected a pointer, found NULL"))),
        (false, false) => Err(Failure::invalid(format!("{what}: expected an aligned pointer, found another"))),
        (false, true) => Ok(()),
    }
}

/// `len` elements at `ptr`.
///
/// # Safety
/// They are there, and stay unchanged while the slice is used.
pub(crate) unsafe fn slice<'a, T>(ptr: *const T, len: usize, what: &str) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    check(ptr, what)?;
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::invalid(format!("{what}: expected a length in memory, found {len}")));
    }
    // SAFETY: not NULL, aligned, within the address space; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// The text `text`.
///
/// # Safety
/// As for [`slice`].
pub(crate) unsafe fn text<'a>(text: bmn_str, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(text.ptr.cast::<u8>(), text.len, what) }?;
    if bytes.len() > LONGEST {
        let why = format!("{what}: expected at most {LONGEST} bytes, found {}", bytes.len());
        return Err(Failure::new(BMN_E_TOO_LONG, why));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        Failure::new(BMN_E_INVALID_UTF8, format!("{what}: expected UTF-8, found another byte at {}", e.valid_up_to()))
    })
}

/// The NUL-terminated string at `ptr`.
///
/// # Safety
/// `ptr` is NULL or points to bytes up to a NUL.
pub(crate) unsafe fn string<'a>(ptr: *const c_char, what: &str) -> Result<&'a str, Failure> {
    check(ptr, what)?;
    // SAFETY: not NULL; the caller promises the NUL.
    unsafe { CStr::from_ptr(ptr) }.to_str().map_err(|e| {
        Failure::new(BMN_E_INVALID_UTF8, format!("{what}: expected UTF-8, found another byte at {}", e.valid_up_to()))
    })
}

/// Refuses a NULL place for an output before any work is done.
pub(crate) fn place<T>(ptr: *mut T, what: &str) -> Result<(), Failure> {
    check(ptr, what)
}

/// Writes an output.
///
/// # Safety
/// `ptr` passed [`place`] and points to a `T` of the caller.
pub(crate) unsafe fn put<T>(ptr: *mut T, value: T) {
    // SAFETY: the caller's promise. `write` drops nothing: the old content is the caller's plain data.
    unsafe { ptr.write(value) }
}

/// The caller's options: fields its version of the struct lacks are taken as `fresh`; fields that this version lacks must
/// be zero.
///
/// # Safety
/// `ptr` is NULL (all `fresh`) or points to as many bytes as its first field says.
pub(crate) unsafe fn options<T: Sized32>(ptr: *const T, what: &str) -> Result<T, Failure> {
    let mut value = T::fresh();
    if ptr.is_null() {
        return Ok(value);
    }
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(ptr, what) }?;
    // SAFETY: the promised bytes.
    let bytes = unsafe { slice(ptr.cast::<u8>(), size, what) }?;
    let known = size.min(size_of::<T>());
    if bytes[known..].iter().any(|byte| *byte != 0) {
        return Err(Failure::new(
            BMN_E_ABI,
            format!("{what}: expected fields of version 0.1 only, found newer ones set"),
        ));
    }
    // SAFETY: `T` is plain data for which any bytes the caller's fields hold are valid (`Sized32`); `known` fits both.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut value).cast::<u8>(), known) };
    Ok(value)
}

/// Fills the first `struct_size` bytes of the caller's struct.
///
/// # Safety
/// `ptr` points to as many bytes as its first field says.
pub(crate) unsafe fn fill<T: Sized32>(ptr: *mut T, value: &T, what: &str) -> Result<(), Failure> {
    check(ptr, what)?;
    // SAFETY: the caller's promise.
    let size = unsafe { struct_size(ptr, what) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are there on both sides. The size field, first of all, stays the caller's.
    unsafe {
        let (from, to) = (std::ptr::from_ref(value).cast::<u8>(), ptr.cast::<u8>());
        std::ptr::copy_nonoverlapping(from.add(4), to.add(4), known - 4);
    }
    Ok(())
}

/// The first field, which must be the size of a version of the struct: not below 8, not absurdly large.
///
/// # Safety
/// `ptr` points to a `u32` at least.
unsafe fn struct_size<T>(ptr: *const T, what: &str) -> Result<usize, Failure> {
    check(ptr, what)?;
    // SAFETY: not NULL, aligned; the caller promises the field.
    let size = unsafe { ptr.cast::<u32>().read() } as usize;
    match size.is_multiple_of(8) && (8..=size_of::<T>().max(4096)).contains(&size) {
        true => Ok(size),
        false => Err(Failure::new(
            BMN_E_ABI,
            format!("{what}.struct_size: expected {} as in version 0.1, found {size}", size_of::<T>()),
        )),
    }
}

/// Sets a struct of the caller to its defaults, as far as `size` says it reaches. A NULL pointer or a size below 8 is ignored.
///
/// # Safety
/// `ptr` is NULL or points to `size` bytes.
pub(crate) unsafe fn init<T: Sized32>(ptr: *mut T, size: usize) {
    if ptr.is_null() || !ptr.is_aligned() || !size.is_multiple_of(8) || !(8..=size_of::<T>().max(4096)).contains(&size)
    {
        return;
    }
    let known = size.min(size_of::<T>());
    let fresh = T::fresh();
    // SAFETY: `size` bytes are the caller's promise; what lies beyond this version's struct is zeroed.
    unsafe {
        std::ptr::write_bytes(ptr.cast::<u8>(), 0, size);
        std::ptr::copy_nonoverlapping((&raw const fresh).cast::<u8>(), ptr.cast::<u8>(), known);
        ptr.cast::<u32>().write(size as u32);
    }
}

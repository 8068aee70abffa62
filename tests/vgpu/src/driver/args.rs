//! Pointers that callers of the driver pass, wrapped so that they are looked at in one place.

use super::errors::{INVALID_VALUE, Result};
use std::ffi::{CStr, c_char, c_void};

/// Where a driver function leaves a value.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// A place whose type another argument tells.
    pub fn at(place: *mut c_void) -> Out<T> {
        Out(place.cast())
    }

    /// Leaves `value`; null is an invalid argument.
    pub fn set(self, value: T) -> Result {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the API's contract: a pointer that is not null points to writable room for a `T`.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Leaves `value` unless the caller asked for nothing by passing null.
    pub fn set_if_wanted(self, value: T) -> Result {
        if self.0.is_null() { Ok(()) } else { self.set(value) }
    }

    /// Whether the caller asked for the value at all.
    pub fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    /// Leaves the first of `values` that fit in `room` places.
    pub fn set_all(self, values: &[T], room: usize) -> Result
    where
        T: Copy,
    {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the API's contract: the caller has `room` places there; no more are written.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.0, values.len().min(room)) };
        Ok(())
    }
}

/// A value that a driver function is given by address.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    /// A value whose type another argument tells.
    pub fn at(place: *const c_void) -> In<T> {
        In(place.cast())
    }

    /// The value; null is an invalid argument.
    pub fn get(&self) -> Result<T> {
        self.get_at(0)
    }

    /// The `index`-th value of an array.
    pub fn get_at(&self, index: usize) -> Result<T> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the API's contract: the caller has at least `index + 1` values there.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }

    /// Whether the caller passed nothing.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

/// A C string that a driver function is given.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// The text; null or not UTF-8 is an invalid argument.
    pub fn get(&self) -> Result<&str> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the API's contract: a string ends in a NUL and outlives the call.
        unsafe { CStr::from_ptr(self.0) }.to_str().map_err(|_| INVALID_VALUE)
    }
}

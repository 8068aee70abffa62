//! What a C program cannot provoke: panics inside, and names against numbers; and the reading and writing of the caller's memory, in
//! allocations of just the size said, for Miri. The rest is tested from C (`tests/abi`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::error::{Failure, bmn_error, bmn_error_free, bmn_error_message, bmn_error_status};
use crate::guard;
use crate::memory::{self, Sized32, bmn_str};
use crate::merge::bmn_merge_options;
use crate::model::bmn_model_options;
use crate::result::{bmn_result, bmn_result_free, bmn_result_json};
use crate::run::bmn_run_options;
use crate::runtime::{bmn_runtime_free, bmn_runtime_new, bmn_runtime_options};
use crate::schema::{bmn_schema_free, bmn_schema_from_json};
use crate::status::*;
use crate::train::bmn_train_options;
use crate::version::bmn_status_name;
use std::ffi::CStr;

#[test]
fn a_panic_becomes_a_status_and_says_nothing() {
    let mut err: *mut bmn_error = std::ptr::null_mut();
    // SAFETY: `err` is a place; the handle it gets is used and freed once.
    unsafe {
        let status = guard::enter(&mut err, || -> Result<(), Failure> { panic!("the patient's name") });
        assert_eq!(status, BMN_E_INTERNAL);
        assert_eq!(bmn_error_status(err), BMN_E_INTERNAL);
        assert!(!CStr::from_ptr(bmn_error_message(err)).to_str().unwrap().contains("patient"));
        bmn_error_free(err);
        assert_eq!(guard::enter(std::ptr::null_mut(), || panic!("no place for an error")), BMN_E_INTERNAL);
    }
    assert_eq!(guard::value(7, || panic!("no status")), 7);
}

#[test]
fn every_status_of_the_engine_has_a_name() {
    for error in [
        engine::Error::invalid("x"),
        engine::Error::format("x", "y"),
        engine::Error::unsupported("x"),
        engine::Error::NoDevice { what: "x".into() },
        engine::Error::internal("x"),
        engine::Error::Cancelled,
        engine::Error::TimedOut,
        engine::Error::TooLong { what: "x".into(), need: 2, limit: 1 },
        engine::Error::OutOfMemory { what: "x".into(), want: 2, free: 1 },
        engine::Error::Device { op: "x".into(), code: 1 },
        engine::Error::io("x", std::io::Error::other("y")),
    ] {
        let status = Failure::from(error).status;
        // SAFETY: a static string.
        let name = unsafe { CStr::from_ptr(bmn_status_name(status)) };
        assert!(name.to_str().unwrap() != "BMN_E_UNKNOWN" && status != BMN_OK, "{status}");
    }
}

#[test]
fn a_handle_of_another_kind_is_recognised() {
    let error = bmn_error::of(Failure::invalid("x"));
    let result: *mut bmn_result = error.cast();
    // SAFETY: a live handle of this library, whatever its kind, may be asked; only `bmn_error_free` frees it.
    unsafe {
        assert!(bmn_result_json(result, 0).is_null());
        bmn_result_free(result);
        assert_eq!(bmn_error_status(error), BMN_E_INVALID_ARGUMENT);
        bmn_error_free(error);
    }
}

/// A struct in memory of exactly `size` bytes: what the library reads or writes beyond is seen by Miri and AddressSanitizer.
fn struct_of<T: Sized32>(size: usize) {
    let mut memory = vec![0u64; (size / 8).max(1)];
    let ptr = memory.as_mut_ptr().cast::<T>();
    let good = size.is_multiple_of(8) && (8..=4096).contains(&size);
    // SAFETY: `ptr` has `size` bytes, or eight where it says less.
    unsafe {
        memory::init(ptr, size);
        assert_eq!(ptr.cast::<u32>().read() as usize, if good { size } else { 0 });
        ptr.cast::<u32>().write(size as u32);
        let read = memory::options::<T>(ptr, "x");
        assert_eq!(read.as_ref().map_err(|failure| failure.status).err(), (!good).then_some(BMN_E_ABI));
        assert_eq!(memory::fill(ptr, &T::fresh(), "x").is_ok(), good);
        assert_eq!(ptr.cast::<u32>().read() as usize, size);
        // Something beyond what this version knows.
        if good && size > size_of::<T>() {
            ptr.cast::<u8>().add(size - 1).write(1);
            assert_eq!(memory::options::<T>(ptr, "x").err().unwrap().status, BMN_E_ABI);
        }
        assert!(memory::options::<T>(ptr.cast::<u8>().add(1).cast(), "x").is_err());
        assert!(memory::options::<T>(std::ptr::null(), "x").is_ok());
        memory::init::<T>(std::ptr::null_mut(), size);
    }
}

#[test]
fn no_more_of_a_struct_is_touched_than_its_size_says() {
    for size in [0, 4, 7, 8, 12, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 4096, 4104] {
        struct_of::<bmn_runtime_options>(size);
        struct_of::<bmn_model_options>(size);
        struct_of::<bmn_run_options>(size);
        struct_of::<bmn_train_options>(size);
        struct_of::<bmn_merge_options>(size);
    }
}

#[test]
fn texts_are_read_to_their_length_and_checked() {
    let bytes = [b'a', 0xc3, 0xa9, 0xff].map(|byte| byte as std::ffi::c_char).to_vec();
    let text = |len| bmn_str { ptr: bytes.as_ptr(), len };
    // SAFETY: lengths within the bytes, or refused before they are used.
    unsafe {
        assert_eq!(memory::text(text(3), "x").unwrap(), "a\u{e9}");
        assert_eq!(memory::text(text(0), "x").unwrap(), "");
        for (len, status) in [(2, BMN_E_INVALID_UTF8), (4, BMN_E_INVALID_UTF8), (usize::MAX, BMN_E_INVALID_ARGUMENT)] {
            assert_eq!(memory::text(text(len), "x").unwrap_err().status, status);
        }
        let null = bmn_str { ptr: std::ptr::null(), len: 0 };
        assert_eq!(memory::text(null, "x").unwrap(), "");
        assert!(memory::text(bmn_str { len: 1, ..null }, "x").is_err());
        assert!(memory::slice(bytes.as_ptr().cast::<u64>().wrapping_byte_add(1), 1, "x").is_err());
    }
}

#[test]
fn handles_are_made_used_and_freed_once() {
    let mut runtime = std::ptr::null_mut();
    let mut schema = std::ptr::null_mut();
    let mut err: *mut bmn_error = std::ptr::null_mut();
    let json = br#"{"labels": ["drug"], "classes": ["a", "b"]}"#;
    // SAFETY: places and live handles, each freed once.
    unsafe {
        assert_eq!(bmn_runtime_new(std::ptr::null(), &mut runtime, &mut err), BMN_OK);
        assert_eq!(bmn_schema_from_json(json.as_ptr().cast(), json.len(), &mut schema, &mut err), BMN_OK);
        assert!(err.is_null());
        assert_eq!(bmn_schema_from_json(json.as_ptr().cast(), 3, &mut schema, &mut err), BMN_E_INVALID_ARGUMENT);
        bmn_error_free(err);
        bmn_schema_free(schema);
        bmn_runtime_free(runtime);
        bmn_runtime_free(std::ptr::null_mut());
    }
}

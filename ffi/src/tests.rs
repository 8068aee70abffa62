//! What a C program cannot provoke: panics inside, and names against numbers. The rest is tested from C (`tests/abi`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::error::{Failure, bmn_error, bmn_error_free, bmn_error_message, bmn_error_status};
use crate::guard;
use crate::result::{bmn_result, bmn_result_free, bmn_result_json};
use crate::status::*;
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

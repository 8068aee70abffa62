//! Functions that cudarc mentions and that make no sense here: memory of other APIs.

use super::errors::NOT_SUPPORTED;
use std::ffi::c_void;

api! {
    fn cuImportExternalMemory(_place: *mut c_void, _description: *const c_void) { Err(NOT_SUPPORTED) }
    fn cuExternalMemoryGetMappedBuffer(_place: *mut c_void, _memory: *mut c_void, _description: *const c_void) {
        Err(NOT_SUPPORTED)
    }
    fn cuDestroyExternalMemory(_memory: *mut c_void) { Err(NOT_SUPPORTED) }
}

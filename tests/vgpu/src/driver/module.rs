//! Modules: PTX parsed, its kernels by name, its variables in device memory.

use super::args::{In, Out, Text};
use super::context;
use super::errors::{FILE_NOT_FOUND, INVALID_HANDLE, INVALID_PTX, INVALID_SOURCE, INVALID_VALUE, NOT_FOUND, Result};
use super::function;
use super::handles::Table;
use super::image;
use super::state::state;
use crate::exec;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

static MODULES: Table<Module> = Table::new(4);

/// One loaded module.
pub struct Module {
    /// What callers know it by.
    pub handle: u64,
    /// Handle of its context.
    pub context: u64,
    /// Its code.
    pub code: exec::Module,
}

/// The module of a handle, in a context that is in order.
pub fn by_handle(handle: u64) -> Result<Arc<Module>> {
    context::current()?;
    MODULES.get(handle, INVALID_HANDLE)
}

/// The context dies, and its modules with it.
pub fn destroy_all(context: u64) {
    for module in MODULES.remove_all(|module| module.context == context) {
        function::destroy_all(module.handle);
    }
}

/// What went wrong is reported, and handed to `log` for `CU_JIT_ERROR_LOG_BUFFER`.
fn load(place: Out<u64>, image: *const c_void, log: impl FnOnce(&str)) -> Result {
    let context = context::current()?;
    if !place.is_wanted() {
        return Err(INVALID_VALUE);
    }
    state().traps.module.step().map_or(Ok(()), Err)?;
    let code = exec::Module::load(&image::ptx(image)?).map_err(|error| {
        log(&error.to_string());
        state().report(format!("vgpu: {error}"));
        INVALID_PTX
    })?;
    place.set(MODULES.insert(|handle| Module { handle, context: context.handle, code }).handle)
}

const ERROR_LOG_BUFFER: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// The place that the caller has for an error log.
fn error_log(count: c_uint, options: &In<c_int>, values: &In<*mut c_void>) -> Result<Option<(Out<u8>, usize)>> {
    let (mut buffer, mut bytes) = (None, 0);
    for index in 0..count as usize {
        let value = values.get_at(index)?;
        match options.get_at(index)? {
            ERROR_LOG_BUFFER => buffer = Some(Out::at(value)),
            ERROR_LOG_BYTES => bytes = value as usize & 0xffff_ffff,
            _ => {}
        }
    }
    Ok(buffer.filter(|_| bytes > 0).map(|buffer| (buffer, bytes)))
}

/// Live modules.
pub fn count() -> usize {
    MODULES.all(|_| true).len()
}

api! {
    fn cuModuleLoadData(place: Out<u64>, image: *const c_void) { load(place, image, |_| {}) }

    /// Options are taken and ignored, but for the error log.
    fn cuModuleLoadDataEx(
        place: Out<u64>, image: *const c_void, count: c_uint, options: In<c_int>, values: In<*mut c_void>,
    ) {
        let log = error_log(count, &options, &values)?;
        load(place, image, |text| {
            if let Some((buffer, bytes)) = log {
                let mut text = text.as_bytes()[..text.len().min(bytes - 1)].to_vec();
                text.push(0);
                let _ = buffer.set_all(&text, bytes);
            }
        })
    }

    fn cuModuleLoadFatBinary(place: Out<u64>, image: *const c_void) { load(place, image, |_| {}) }

    fn cuModuleLoad(place: Out<u64>, path: Text) {
        let mut image = std::fs::read(path.get()?).map_err(|_| FILE_NOT_FOUND)?;
        if image.is_empty() {
            return Err(INVALID_SOURCE);
        }
        image.push(0);
        load(place, image.as_ptr().cast(), |_| {})
    }

    /// Waits for the context, so that no kernel of it is running.
    fn cuModuleUnload(handle: u64) {
        context::current()?.drain();
        let module = MODULES.remove(handle, INVALID_HANDLE)?;
        function::destroy_all(module.handle);
        Ok(())
    }

    fn cuModuleGetFunction(place: Out<u64>, module: u64, name: Text) {
        place.set(function::of(&*by_handle(module)?, name.get()?)?)
    }

    fn cuModuleGetFunctionCount(count: Out<c_uint>, module: u64) {
        count.set(by_handle(module)?.code.function_names().count() as c_uint)
    }

    fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: u64, name: Text) {
        let (start, size) = by_handle(module)?.code.global(name.get()?).ok_or(NOT_FOUND)?;
        address.set_if_wanted(start)?;
        bytes.set_if_wanted(size)
    }

    fn cuModuleGetLoadingMode(mode: Out<c_int>) { mode.set(2) }
}

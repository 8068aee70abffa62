//! Kernels: what they need and how much shared memory they were allowed.

use super::arch::{REGISTERS, SHARED_DEFAULT};
use super::args::Out;
use super::context;
use super::errors::{INVALID_HANDLE, INVALID_VALUE, NOT_FOUND, Result};
use super::handles::Table;
use super::module::Module;
use super::state::state;
use crate::exec;
use std::ffi::{CString, c_char, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

static FUNCTIONS: Table<Function> = Table::new(5);

/// One kernel of one module.
pub struct Function {
    handle: u64,
    module: u64,
    name: CString,
    /// Its code.
    pub code: exec::Function,
    dynamic: AtomicI32,
    carveout: AtomicI32,
}

/// The function of a handle, in a context that is in order.
pub fn by_handle(handle: u64) -> Result<Arc<Function>> {
    context::current()?;
    FUNCTIONS.get(handle, INVALID_HANDLE)
}

/// The module goes, and its functions with it.
pub fn destroy_all(module: u64) {
    FUNCTIONS.remove_all(|function| function.module == module);
}

/// The handle of a kernel by its name, the same one every time.
pub fn of(module: &Module, name: &str) -> Result<u64> {
    if let Some(known) = FUNCTIONS.all(|known| known.module == module.handle && known.code.name() == name).pop() {
        return Ok(known.handle);
    }
    let code = module.code.function(name).ok_or(NOT_FOUND)?;
    let dynamic = SHARED_DEFAULT.saturating_sub(code.shared_bytes() as i32).max(0);
    let function = FUNCTIONS.insert(|handle| Function {
        handle,
        module: module.handle,
        name: CString::new(name).unwrap_or_default(),
        code,
        dynamic: AtomicI32::new(dynamic),
        carveout: AtomicI32::new(-1),
    });
    Ok(function.handle)
}

impl Function {
    /// Static shared memory, bytes.
    pub fn shared(&self) -> usize {
        self.code.shared_bytes()
    }

    /// Dynamic shared memory that a launch may ask for, bytes.
    pub fn dynamic(&self) -> usize {
        self.dynamic.load(Ordering::Relaxed).max(0) as usize
    }

    /// Registers per thread. PTX does not tell; this is the most that its launch bounds leave.
    pub fn registers(&self) -> i32 {
        (REGISTERS / self.code.max_threads().max(1) as i32).min(255)
    }

    fn attribute(&self, number: c_int) -> Result<c_int> {
        let (major, minor) = state().config().compute_capability;
        Ok(match number {
            0 => self.code.max_threads() as c_int,
            1 => self.shared() as c_int,
            2 => 0,
            3 => self.code.local_bytes() as c_int,
            4 => self.registers(),
            5 | 6 => major * 10 + minor,
            7 => 0,
            8 => self.dynamic() as c_int,
            9 => self.carveout.load(Ordering::Relaxed),
            10..=15 => 0,
            _ => return Err(INVALID_VALUE),
        })
    }

    fn set_attribute(&self, number: c_int, value: c_int) -> Result {
        match number {
            8 => {
                let most = state().limits().shared_block - self.shared() as c_int;
                if !(0..=most).contains(&value) {
                    state().report(format!(
                        "vgpu: {} asks for {value} bytes of dynamic shared memory; a block of this device has {most} to give",
                        self.code.name()
                    ));
                    return Err(INVALID_VALUE);
                }
                self.dynamic.store(value, Ordering::Relaxed);
            }
            9 if (-1..=100).contains(&value) => self.carveout.store(value, Ordering::Relaxed),
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }
}

api! {
    fn cuFuncGetAttribute(value: Out<c_int>, number: c_int, function: u64) {
        value.set(by_handle(function)?.attribute(number)?)
    }

    fn cuFuncSetAttribute(function: u64, number: c_int, value: c_int) {
        by_handle(function)?.set_attribute(number, value)
    }

    fn cuFuncSetCacheConfig(function: u64, config: c_int) {
        by_handle(function)?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(INVALID_VALUE) }
    }

    fn cuFuncSetSharedMemConfig(function: u64, _config: c_int) { by_handle(function).map(|_| ()) }
    fn cuFuncGetModule(module: Out<u64>, function: u64) { module.set(by_handle(function)?.module) }

    /// The name lives as long as the module.
    fn cuFuncGetName(name: Out<*const c_char>, function: u64) { name.set(by_handle(function)?.name.as_ptr()) }

    /// Offset and size of one parameter; an index behind the last is an invalid argument.
    fn cuFuncGetParamInfo(function: u64, index: usize, offset: Out<usize>, bytes: Out<usize>) {
        let function = by_handle(function)?;
        let param = function.code.params().get(index).ok_or(INVALID_VALUE)?;
        offset.set(param.offset)?;
        bytes.set_if_wanted(param.size)
    }
}

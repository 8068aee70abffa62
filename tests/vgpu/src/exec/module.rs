//! Modules: parsed, their variables placed in device memory, their entries linked when they are first asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::decode::{Param, Program, link};
use crate::memory::arena;
use crate::ptx::{self, VariableSpace};

/// Why a module cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Not PTX.
    Parse(ptx::ParseError),
    /// Its variables do not fit into device memory.
    OutOfMemory {
        /// Bytes of the variable.
        bytes: usize,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Parse(error) => error.fmt(f),
            LoadError::OutOfMemory { bytes } => write!(f, "a module variable of {bytes} bytes does not fit"),
        }
    }
}

impl std::error::Error for LoadError {}

/// A loaded module. Its variables are freed with the last clone and the last of its functions.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    ptx: Arc<ptx::Module>,
    /// Device address of each variable; 0 for shared ones.
    addresses: Vec<u64>,
    programs: Mutex<HashMap<usize, Arc<Program>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for address in self.addresses.iter().filter(|a| **a != 0) {
            arena().free(*address);
        }
    }
}

impl Module {
    /// Loads PTX text.
    ///
    /// # Errors
    /// The text is not PTX, or its variables do not fit.
    pub fn load(text: &str) -> Result<Module, LoadError> {
        let ptx = Arc::new(ptx::parse(text).map_err(LoadError::Parse)?);
        let inner = Inner { addresses: place(&ptx)?, ptx, programs: Mutex::default() };
        inner.initialise();
        Ok(Module(Arc::new(inner)))
    }

    /// The entry of that name.
    pub fn function(&self, name: &str) -> Option<Function> {
        let index = self.0.ptx.functions.iter().position(|f| f.entry && f.defined && f.name == name)?;
        let mut programs = self.0.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = programs.entry(index).or_insert_with(|| Arc::new(link(&self.0.ptx, index, &self.0.addresses)));
        Some(Function { program: Arc::clone(program), _module: self.clone() })
    }

    /// Names of the entries.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        self.0.ptx.functions.iter().filter(|f| f.entry && f.defined).map(|f| f.name.as_str())
    }

    /// Device address and size of a variable in global or constant memory.
    pub fn global(&self, name: &str) -> Option<(u64, usize)> {
        let index = self.0.ptx.variables.iter().position(|v| v.name == name)?;
        let address = self.0.addresses[index];
        (address != 0).then_some((address, self.0.ptx.variables[index].size))
    }
}

/// Allocates the variables of global and constant memory.
fn place(ptx: &ptx::Module) -> Result<Vec<u64>, LoadError> {
    let mut addresses = Vec::with_capacity(ptx.variables.len());
    for variable in &ptx.variables {
        let on_device = matches!(variable.space, VariableSpace::Global | VariableSpace::Constant);
        let address = if on_device { arena().allocate_named(variable.size.max(1), &variable.name) } else { Some(0) };
        match address {
            Some(address) => addresses.push(address),
            None => {
                addresses.iter().filter(|a| **a != 0).for_each(|a| {
                    arena().free(*a);
                });
                return Err(LoadError::OutOfMemory { bytes: variable.size });
            }
        }
    }
    Ok(addresses)
}

impl Inner {
    fn initialise(&self) {
        for (variable, &address) in self.ptx.variables.iter().zip(&self.addresses) {
            if address == 0 {
                continue;
            }
            let mut bytes = variable.init.clone();
            bytes.resize(variable.size, 0);
            for (offset, name, addend) in &variable.relocations {
                let target = self.ptx.variables.iter().position(|v| v.name == *name);
                let value = target.map_or(0, |t| self.addresses[t].wrapping_add(*addend));
                if let Some(place) = bytes.get_mut(*offset..offset + 8) {
                    place.copy_from_slice(&value.to_le_bytes());
                }
            }
            // SAFETY: the arena gave `variable.size` bytes at this address, and nobody else knows it yet.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
            arena().mark_initialised(address, bytes.len());
        }
    }
}

/// One entry of a module. Keeps the module alive.
#[derive(Clone)]
pub struct Function {
    pub(crate) program: Arc<Program>,
    _module: Module,
}

impl Function {
    /// Its symbol.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its parameters, in order.
    pub fn params(&self) -> &[Param] {
        &self.program.params
    }

    /// Bytes of the parameter block.
    pub fn param_bytes(&self) -> usize {
        self.program.param_bytes
    }

    /// Bytes of static shared memory.
    pub fn shared_bytes(&self) -> usize {
        self.program.shared_static as usize
    }

    /// Bytes of local memory of a thread.
    pub fn local_bytes(&self) -> usize {
        self.program.local_bytes as usize
    }

    /// The largest number of threads of a block.
    pub fn max_threads(&self) -> u32 {
        self.program.max_threads
    }

    /// The only block that the kernel may be launched with, if it says so.
    pub fn required_block(&self) -> Option<[u32; 3]> {
        self.program.required_block
    }

    /// The kernel's instructions in its sources.
    pub fn listing(&self) -> &dyn crate::report::Listing {
        &*self.program
    }
}

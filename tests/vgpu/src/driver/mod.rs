//! The CUDA driver API over host memory.
//!
//! Every stream has a queue and a thread of its own; what a launch or a copy does wrong shows where it does on a GPU: at the
//! next call that waits, and at every call after that until the context is gone. What only tests need (settings, injected
//! failures, reports) is exported beside it under names that begin with `vgpu`, see [`crate::load`].
#![allow(non_snake_case, reason = "the driver's own names")]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Exported driver functions: a body that returns [`errors::Result`] behind the C ABI.
macro_rules! api {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        extern "C" fn $name($($arg: $type),*) -> u32 {
            $crate::driver::call(stringify!($name), move || $body)
        }
    )*};
}

mod arch;
mod args;
mod capture;
mod config;
mod context;
mod control;
mod device;
mod errors;
mod event;
mod function;
mod graph;
mod handles;
mod image;
mod launch;
mod memory;
mod module;
mod occupancy;
mod pool;
mod profiles;
mod state;
mod stream;
mod transfer;
mod unsupported;

/// Runs one driver function: names it when asked to, and turns a panic of ours into an error instead of unwinding into C.
fn call(name: &str, body: impl FnOnce() -> errors::Result) -> u32 {
    let state = state::state();
    if state.config().trace {
        state::say(&format!("vgpu: {name}"));
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.0,
        Err(_) => {
            state.report(format!("vgpu: {name} panicked; this is an error in the virtual GPU"));
            errors::UNKNOWN.0
        }
    }
}

//! `libbiomistral_nlu`: the engine behind a C header, `include/biomistral_nlu.h`, which cbindgen writes from this crate.
//!
//! | file | what it settles |
//! |---|---|
//! | `guard` | every entry: panics and errors become a status and an error object |
//! | `memory` | the only place that reads and writes the caller's pointers |
//! | `handle` | opaque handles: made, checked, freed |
//! | `status`, `error` | numbers and sentences |
//! | `runtime`, `model`, `adapter`, `session`, `cancel`, `schema`, `run` | what a caller holds |
//! | `tasks` | the seven tasks |
//! | `train`, `merge` | adapters and models made |
//! | `result`, `offsets` | answers, read by index or as JSON, in any unit |

#![allow(non_camel_case_types)]

/// Memory that the system refuses comes from a reserve, and calls end with an error instead of ending the host.
#[global_allocator]
static MEMORY: engine::reserve::Reserve = engine::reserve::Reserve;

mod adapter;
mod cancel;
mod error;
mod guard;
mod handle;
pub mod log;
mod memory;
mod merge;
mod model;
mod offsets;
mod result;
mod run;
mod runtime;
mod schema;
mod session;
mod status;
mod tasks;
#[cfg(test)]
mod tests;
mod train;
pub mod version;

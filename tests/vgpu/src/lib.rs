//! A virtual GPU for tests: the CUDA driver API over host memory, executing PTX warp by warp.
//!
//! It runs the PTX that the product ships and the host code that launches it, on a machine without a GPU, under checks that
//! a GPU does not make: every byte's allocation and definedness, races, missing waits, divergent barriers, hangs.

pub mod decode;
pub mod driver;
pub mod exec;
mod loading;
pub mod memory;
pub mod ptx;
pub mod report;
pub mod sync;
pub mod tensor;

pub use loading::{Control, LoadError, library_path, load};

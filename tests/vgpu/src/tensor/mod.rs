//! Tensor-core instructions: mma, ldmatrix, stmatrix, and models of their accumulation.

mod matrix;
mod mma;
mod model;
#[cfg(test)]
mod tests;

pub use matrix::{load_matrix, move_matrix, store_matrix};
pub use mma::{defined, flops, fragments, multiply};
pub use model::TensorModel;

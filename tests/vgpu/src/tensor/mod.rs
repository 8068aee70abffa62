//! Tensor-core instructions: mma, ldmatrix, stmatrix, and models of their accumulation.

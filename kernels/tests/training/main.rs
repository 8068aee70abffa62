//! Kernels of training that work on rows, on packed examples and on parameters, against f64 and against themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[path = "../harness/mod.rs"]
mod harness;

mod attention;
mod optimise;
mod oracle;
mod rows;

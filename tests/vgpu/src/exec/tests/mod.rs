//! Opcodes against the manual: each test writes a small kernel, runs it on many operands and computes the answers on its own.

mod collective;
mod compare;
mod control;
mod convert;
mod float;
pub(crate) mod harness;
mod integer;
mod memory;
mod special;

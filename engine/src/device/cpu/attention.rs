//! Attention over paged keys and values.

use super::Cpu;
use crate::device::Attention;
use crate::{Error, Result};
use half::bf16;

/// `o = softmax(q kᵀ / sqrt(D) + mask) v` per head; `q`, `o`: `[T, H·D]`.
pub fn attention(_cpu: &Cpu, _q: &[bf16], _at: &mut Attention<'_, Cpu>, _o: &mut [bf16]) -> Result<()> {
    Err(Error::internal("CPU attention is not built yet"))
}

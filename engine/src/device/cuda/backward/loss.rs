//! Cross-entropy over the whole vocabulary, a chunk of rows at a time: logits and their gradient share one piece of memory.

use super::product::{Place, launch, trained};
use crate::device::LossGradient;
use crate::device::cuda::matrix::padded;
use crate::device::cuda::memory::Buffer;
use crate::device::cuda::{Cuda, CudaMatrix, int, need, residual};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{CrossEntropyParams, ProductTerm};
use biomistral_nlu_kernels::table::{self, CROSS_ENTROPY};
use half::bf16;

/// Rows whose logits exist at a time: a fifth of all in f32 is a tenth of them and of their gradient; whole tiles, and not
/// more than keep a device busy.
fn chunk(t: usize) -> usize {
    (t / 5 / 128 * 128).clamp(128, 1024)
}

pub(super) fn cross_entropy(
    cuda: &Cuda,
    x: &Buffer<bf16>,
    head: &CudaMatrix,
    targets: &[u32],
    mut gradient: Option<LossGradient<'_, Cuda>>,
) -> Result<Vec<f64>> {
    let op = "cross_entropy";
    let (t, c, v, weights) = (targets.len(), head.cols, head.rows, trained(op, head)?.weight());
    let (ldx, ldd, ld) = (padded(c), residual(c), padded(v));
    need(op, "x", t * ldx, x.len())?;
    if let Some(target) = targets.iter().find(|&&target| target as usize >= v) {
        return Err(Error::invalid(format!("{op}: expected targets below {v}, found {target}")));
    }
    if let Some(gradient) = &mut gradient {
        gradient.dx.reserve(t * ldd)?;
        need(op, "dhead", v * c, gradient.dhead.as_ref().map_or(v * c, |dhead| dhead.len()))?;
    }
    if t == 0 {
        return Ok(Vec::new());
    }
    let rows = chunk(t).min(t);
    let mut parts = vec![[0f64; 2]; t];
    cuda.op(|state| {
        let bytes = rows * ld * size_of::<f32>();
        state.scratch.begin(&[bytes, size_of_val(&parts[..])])?;
        let (_, logits) = state.scratch.take(bytes);
        let (place, out) = state.scratch.take(size_of_val(&parts[..]));
        let targets = state.lists.put(targets)?;
        for start in (0..t).step_by(rows) {
            let n = rows.min(t - start);
            let (shared, x) = (&cuda.shared, x.address(start * ldx));
            let term =
                ProductTerm { a: x, b: weights.data, lda: ldx as i64, ldb: weights.ld, k: int(op, c)?, reserved: 0 };
            launch(shared, op, table::linear(v), &[term], (n, v), 1.0, Place::store(logits, ld))?;
            let params = CrossEntropyParams {
                logits,
                targets: targets + (start * size_of::<u32>()) as u64,
                out: out + (start * size_of::<[f64; 2]>()) as u64,
                ld: ld as i64,
                m: int(op, n)?,
                n: int(op, v)?,
                weight: gradient.as_ref().map_or(0.0, |gradient| gradient.weight),
                gradient: gradient.is_some().into(),
            };
            shared.launch(&CROSS_ENTROPY, &params)?;
            let Some(gradient) = &gradient else { continue };
            // bf16 in the first half of each row of logits.
            let (a, lda) = (logits, 2 * ld as i64);
            let term = ProductTerm { a, b: weights.data, lda, ldb: weights.ld, k: int(op, v)?, reserved: 0 };
            let dx = Place::store(gradient.dx.address(start * ldd), ldd);
            launch(shared, op, table::linear_dx(c), &[term], (n, c), 1.0, dx)?;
            if let Some(dhead) = &gradient.dhead {
                let term = ProductTerm { a, b: x, lda, ldb: ldx as i64, k: int(op, n)?, reserved: 0 };
                let dhead = Place::add(dhead.address(0), c);
                launch(shared, op, table::linear_dw(v, c), &[term], (v, c), 1.0, dhead)?;
            }
        }
        state.scratch.read(op, place, &mut parts)
    })?;
    Ok(parts.into_iter().map(|[low, sum]| low + sum.ln()).collect())
}

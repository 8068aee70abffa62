//! Cross-entropy over the whole vocabulary, a few rows at a time: logits, their softmax and its gradient share one buffer.

use super::super::{Buffer, Cpu, CpuMatrix, Parts, need};
use super::kernels::kernels;
use super::product::{Operand, Term, product};
use crate::device::LossGradient;
use crate::{Error, Result};
use half::bf16;

/// Rows whose logits exist at a time: 38 MB of them at V = 49,152, a tenth of what 1,024 rows and their gradient take.
const ROWS: usize = 192;

pub(super) fn cross_entropy(
    cpu: &Cpu,
    x: &[bf16],
    head: &CpuMatrix,
    targets: &[u32],
    mut gradient: Option<LossGradient<'_, Cpu>>,
) -> Result<Vec<f64>> {
    let (t, c, v) = (targets.len(), head.cols, head.rows);
    need("cross_entropy", "x", t * c, x.len())?;
    if let Some(target) = targets.iter().find(|&&target| target as usize >= v) {
        return Err(Error::invalid(format!("cross_entropy: expected targets below {v}, found {target}")));
    }
    if let Some(gradient) = &gradient {
        need("cross_entropy", "dx", t * c, gradient.dx.len())?;
        let rows = gradient.dhead.as_ref().map_or(v * c, |dhead| dhead.len());
        need("cross_entropy", "dhead", v * c, rows)?;
    }
    let mut losses = vec![0f64; t];
    let kernels = kernels(cpu.isa);
    // Not lent scratch: that would keep this much for every other operation.
    let mut logits = Buffer::<f32>::new(t.min(ROWS) * v)?;
    for start in (0..t).step_by(ROWS) {
        let rows = start..t.min(start + ROWS);
        let (n, x) = (rows.len(), &x[rows.start * c..rows.end * c]);
        let logits = &mut logits[..n * v];
        let parts = Parts::new(&mut *logits);
        let terms = [Term { a: Operand::along(x, c), b: Operand::along(&head.data, c), k: c }];
        product(cpu, n, v, &terms, |mut tile| {
            let columns = tile.columns.clone();
            // SAFETY: each row and column comes once.
            tile.rows(|i, y| unsafe { parts.range(i * v + columns.start..i * v + columns.end) }.copy_from_slice(y));
        })?;
        let (parts, losses) = (Parts::new(&mut *logits), Parts::new(&mut losses[rows.clone()]));
        let weight = gradient.as_ref().map(|gradient| gradient.weight);
        cpu.team.run(n, |i| {
            // SAFETY: each row is one task's.
            let (z, loss) = unsafe { (parts.range(i * v..(i + 1) * v), losses.range(i..i + 1)) };
            loss[0] = row(cpu, kernels, z, targets[rows.start + i] as usize, weight);
        })?;
        let Some(gradient) = &mut gradient else { continue };
        // The gradient of row `i` stands in the first half of that row's logits.
        let dz: &[bf16] = bytemuck::cast_slice(&*logits);
        let dx = Parts::new(&mut gradient.dx[rows.start * c..rows.end * c]);
        let terms = [Term { a: Operand::along(dz, 2 * v), b: Operand::across(&head.data, c), k: v }];
        product(cpu, n, c, &terms, |mut tile| {
            let columns = tile.columns.clone();
            // SAFETY: each row and column comes once.
            tile.rows(|i, y| unsafe { dx.range(i * c + columns.start..i * c + columns.end) }.copy_from_slice(y));
        })?;
        if let Some(dhead) = &mut gradient.dhead {
            add_outer(cpu, (dz, 2 * v, v), (x, c, c), n, dhead)?;
        }
    }
    Ok(losses)
}

/// `dw[n, k] += Σ_t dy[t, n] x[t, k]`; `dy` and `x` with the distance of their rows and `N`, `K`.
pub(super) fn add_outer(
    cpu: &Cpu,
    (dy, dy_stride, n): (&[bf16], usize, usize),
    (x, x_stride, k): (&[bf16], usize, usize),
    t: usize,
    dw: &mut Buffer<f32>,
) -> Result<()> {
    need("linear_dw", "dw", n * k, dw.len())?;
    let parts = Parts::new(&mut dw[..n * k]);
    let (dy, x) = (Operand::across(dy, dy_stride), Operand::across(x, x_stride));
    // Few outputs: they are rows of the product, so that its tiles of 48 columns are full.
    if n < k {
        return product(cpu, n, k, &[Term { a: dy, b: x, k: t }], |mut tile| {
            let columns = tile.columns.clone();
            tile.rows(|i, y| {
                // SAFETY: each row and column comes once.
                let dw = unsafe { parts.range(i * k + columns.start..i * k + columns.end) };
                (cpu.kernels.add)(y, dw);
            });
        });
    }
    product(cpu, k, n, &[Term { a: x, b: dy, k: t }], |mut tile| {
        let columns = tile.columns.clone();
        tile.rows(|j, y| {
            for (i, y) in columns.clone().zip(y) {
                // SAFETY: each row and column comes once.
                let dw = unsafe { parts.range(i * k + j..i * k + j + 1) };
                dw[0] += *y;
            }
        });
    })
}

/// The loss of one row; with `weight`, its gradient in the first half of `z`, bf16.
fn row(cpu: &Cpu, kernels: &super::kernels::Kernels, z: &mut [f32], target: usize, weight: Option<f32>) -> f64 {
    let (max, sum) = (cpu.kernels.max_sum_exp)(z);
    let lse = max as f64 + (sum as f64).ln();
    let loss = lse - z[target] as f64;
    let Some(weight) = weight else { return loss };
    let hit = bf16::from_f32((((z[target] as f64 - lse).exp() - 1.0) * weight as f64) as f32);
    let mut piece = [bf16::ZERO; 512];
    for start in (0..z.len()).step_by(piece.len()) {
        let end = z.len().min(start + piece.len());
        (kernels.probabilities)(&z[start..end], lse as f32, weight, &mut piece[..end - start]);
        // Elements `start..end` of the gradient lie at or before the logits they came from.
        let out: &mut [bf16] = bytemuck::cast_slice_mut(&mut *z);
        out[start..end].copy_from_slice(&piece[..end - start]);
    }
    let out: &mut [bf16] = bytemuck::cast_slice_mut(z);
    out[target] = hit;
    loss
}

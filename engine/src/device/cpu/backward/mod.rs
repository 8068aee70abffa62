//! The operations of training on the processor.

mod attention;
pub(super) mod kernels;
mod loss;
mod optimise;
mod product;
#[cfg(test)]
mod tests;

use super::{Buffer, Cpu, CpuMatrix, Parts, need};
use crate::device::{
    AdamStep, AdamTensor, Backward, Element, LossGradient, Output, PackedRows, RopeTable, RowSelection, Term,
};
use crate::weights::MatrixData;
use crate::{Error, Result};
use half::bf16;
use kernels::kernels;
use product::{Operand, Tile, product};
use std::ops::Range;

/// Elements of a task of an element-wise operation, and of a partial sum.
const PIECE: usize = 1 << 14;
/// Rows of a partial sum of a norm's weight gradient.
const NORM_ROWS: usize = 64;

/// Cuts `0..len` into pieces at fixed places and runs them on all threads.
fn pieces(cpu: &Cpu, len: usize, work: impl Fn(Range<usize>) + Sync) -> Result<()> {
    cpu.team.run(len.div_ceil(PIECE), |i| work(i * PIECE..len.min((i + 1) * PIECE)))
}

/// A slice of at least `len` elements, or an error that names it.
fn first<'a, T: Element>(op: &str, name: &str, x: &'a [T], len: usize) -> Result<&'a [T]> {
    need(op, name, len, x.len())?;
    Ok(&x[..len])
}

fn first_mut<'a, T: Element>(op: &str, name: &str, x: &'a mut [T], len: usize) -> Result<&'a mut [T]> {
    need(op, name, len, x.len())?;
    Ok(&mut x[..len])
}

/// A product whose result goes to `output`, `[m, n]`, times `scale`.
fn product_to(
    cpu: &Cpu,
    (m, n): (usize, usize),
    terms: &[product::Term<'_>],
    scale: f32,
    output: Output<'_, Cpu>,
) -> Result<()> {
    let scaled = |mut tile: Tile<'_>, write: &dyn Fn(Range<usize>, &[f32])| {
        let columns = tile.columns.clone();
        tile.rows(|i, y| {
            if scale != 1.0 {
                y.iter_mut().for_each(|y| *y *= scale);
            }
            write(i * n + columns.start..i * n + columns.end, y);
        });
    };
    match output {
        Output::Round(out) => {
            let out = Parts::new(first_mut("linear", "y", out, m * n)?);
            // SAFETY: here and below: each row and column comes once.
            let write = |at: Range<usize>, y: &[f32]| (cpu.kernels.round)(y, unsafe { out.range(at) });
            product(cpu, m, n, terms, |tile| scaled(tile, &write))
        }
        Output::Store(out) => {
            let out = Parts::new(first_mut("linear", "y", out, m * n)?);
            // SAFETY: as above.
            let write = |at: Range<usize>, y: &[f32]| unsafe { out.range(at) }.copy_from_slice(y);
            product(cpu, m, n, terms, |tile| scaled(tile, &write))
        }
        Output::Add(out) => {
            let out = Parts::new(first_mut("linear", "y", out, m * n)?);
            // SAFETY: as above.
            let write = |at: Range<usize>, y: &[f32]| (cpu.kernels.add)(y, unsafe { out.range(at) });
            product(cpu, m, n, terms, |tile| scaled(tile, &write))
        }
    }
}

/// All weights of `terms` must agree in one of their sides.
fn common(op: &str, terms: &[Term<'_, Cpu>], side: impl Fn(&CpuMatrix) -> usize) -> Result<usize> {
    let sides: Vec<usize> = terms.iter().map(|term| side(term.weight)).collect();
    match sides[..] {
        [side, ..] if sides.iter().all(|other| *other == side) => Ok(side),
        _ => Err(Error::shape(op, "terms of one shape", sides)),
    }
}

impl Backward for Cpu {
    fn linear(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, y: Output<'_, Self>) -> Result<()> {
        let n = common("linear", terms, |weight| weight.rows)?;
        let terms = terms.iter().map(|&Term { x, weight: w }| product::Term {
            a: Operand::along(x, w.cols),
            b: Operand::along(&w.data, w.cols),
            k: w.cols,
        });
        product_to(self, (t, n), &terms.collect::<Vec<_>>(), scale, y)
    }

    fn linear_dx(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, dx: Output<'_, Self>) -> Result<()> {
        let k = common("linear_dx", terms, |weight| weight.cols)?;
        let terms = terms.iter().map(|&Term { x, weight: w }| product::Term {
            a: Operand::along(x, w.rows),
            b: Operand::across(&w.data, w.cols),
            k: w.rows,
        });
        product_to(self, (t, k), &terms.collect::<Vec<_>>(), scale, dx)
    }

    fn linear_dw(
        &self,
        (dy, n): (&Buffer<bf16>, usize),
        (x, k): (&Buffer<bf16>, usize),
        t: usize,
        dw: &mut Buffer<f32>,
    ) -> Result<()> {
        loss::add_outer(self, (dy, n, n), (x, k, k), t, dw)
    }

    fn copy(&self, x: &Buffer<f32>, [t, n]: [usize; 2], out: &mut Buffer<f32>) -> Result<()> {
        let len = t * n;
        first_mut("copy", "out", out, len)?.copy_from_slice(first("copy", "x", x, len)?);
        Ok(())
    }

    fn round(&self, x: &Buffer<f32>, [t, n]: [usize; 2], out: &mut Buffer<bf16>) -> Result<()> {
        let len = t * n;
        let x = first("round", "x", x, len)?;
        let out = Parts::new(first_mut("round", "out", out, len)?);
        // SAFETY: pieces are disjoint.
        pieces(self, len, |at| (self.kernels.round)(&x[at.clone()], unsafe { out.range(at) }))
    }

    fn rope(
        &self,
        x: &Buffer<f32>,
        n: usize,
        positions: &[u32],
        table: &RopeTable<Self>,
        inverse: bool,
        out: &mut Buffer<bf16>,
    ) -> Result<()> {
        let half = table.cos.len() / table.positions.max(1);
        if half == 0 || !n.is_multiple_of(2 * half) {
            return Err(Error::shape("rope", format!("heads of width {}", 2 * half), n));
        }
        if let Some(position) = positions.iter().find(|&&p| p as usize >= table.positions) {
            return Err(Error::invalid(format!(
                "rope: expected positions below {}, found {position}",
                table.positions
            )));
        }
        let x = first("rope", "x", x, positions.len() * n)?;
        let out = Parts::new(first_mut("rope", "out", out, positions.len() * n)?);
        self.team.run_ranges(positions.len(), |rows| {
            let (mut head, mut sin) = (vec![0f32; 2 * half], vec![0f32; half]);
            for t in rows {
                let at = positions[t] as usize * half;
                let sign = if inverse { -1.0 } else { 1.0 };
                sin.iter_mut().zip(&table.sin[at..]).for_each(|(to, sin)| *to = sign * sin);
                for start in (t * n..(t + 1) * n).step_by(2 * half) {
                    head.copy_from_slice(&x[start..start + 2 * half]);
                    (self.kernels.rotate)(&mut head, &table.cos[at..], &sin);
                    // SAFETY: rows are disjoint.
                    (self.kernels.round)(&head, unsafe { out.range(start..start + 2 * half) });
                }
            }
        })
    }

    fn packed_attention(
        &self,
        qkv: [&Buffer<bf16>; 3],
        rows: &PackedRows<'_>,
        o: &mut Buffer<bf16>,
        lse: &mut Buffer<f32>,
    ) -> Result<()> {
        attention::forward(self, qkv.map(|x| &**x), rows, o, lse)
    }

    fn packed_attention_backward(
        &self,
        qkv: [&Buffer<bf16>; 3],
        (o, lse): (&Buffer<bf16>, &Buffer<f32>),
        d_o: &Buffer<bf16>,
        rows: &PackedRows<'_>,
        dqkv: [&mut Buffer<f32>; 3],
    ) -> Result<()> {
        attention::backward(self, qkv.map(|x| &**x), (o, lse), d_o, rows, dqkv.map(|x| &mut **x))
    }

    fn swiglu(&self, gate: &Buffer<bf16>, up: &Buffer<bf16>, [t, n]: [usize; 2], a: &mut Buffer<bf16>) -> Result<()> {
        let len = t * n;
        let (gate, up) = (first("swiglu", "gate", gate, len)?, first("swiglu", "up", up, len)?);
        let a = Parts::new(first_mut("swiglu", "a", a, len)?);
        // SAFETY: pieces are disjoint.
        let work =
            |at: Range<usize>| (kernels(self.isa).swiglu)(&gate[at.clone()], &up[at.clone()], unsafe { a.range(at) });
        pieces(self, len, work)
    }

    fn swiglu_backward(
        &self,
        da: &Buffer<bf16>,
        gate: &Buffer<bf16>,
        up: &Buffer<bf16>,
        [t, n]: [usize; 2],
        [dgate, dup]: [&mut Buffer<bf16>; 2],
    ) -> Result<()> {
        let (op, len) = ("swiglu_backward", t * n);
        let (da, gate, up) = (first(op, "da", da, len)?, first(op, "gate", gate, len)?, first(op, "up", up, len)?);
        let dgate = Parts::new(first_mut(op, "dgate", dgate, len)?);
        let dup = Parts::new(first_mut(op, "dup", dup, len)?);
        pieces(self, len, |at| {
            // SAFETY: pieces are disjoint.
            let (dgate, dup) = unsafe { (dgate.range(at.clone()), dup.range(at.clone())) };
            (kernels(self.isa).swiglu_backward)(&da[at.clone()], &gate[at.clone()], &up[at], dgate, dup);
        })
    }

    fn rms_norm_backward(
        &self,
        dx: &Buffer<f32>,
        h: &Buffer<f32>,
        w: &Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        dh: &mut Buffer<f32>,
        dw: Option<&mut Buffer<f32>>,
    ) -> Result<()> {
        let op = "rms_norm_backward";
        let (c, kernels) = (w.len(), kernels(self.isa));
        let (t, last) = match rows {
            RowSelection::All(t) => (t, t),
            RowSelection::Some(rows) => {
                if !rows.windows(2).all(|pair| pair[0] < pair[1]) {
                    return Err(Error::invalid("rms_norm_backward: expected ascending rows"));
                }
                (rows.len(), rows.last().map_or(0, |&row| row as usize + 1))
            }
        };
        need(op, "dx", t * c, dx.len())?;
        need(op, "h", last * c, h.len())?;
        let dh = Parts::new(first_mut(op, "dh", dh, last * c)?);
        let blocks = t.div_ceil(NORM_ROWS);
        let mut partial = vec![0f32; if dw.is_some() { blocks * c } else { 0 }];
        let parts = Parts::new(&mut partial);
        let wanted = dw.is_some();
        self.team.run(blocks, |block| {
            for i in block * NORM_ROWS..t.min((block + 1) * NORM_ROWS) {
                let row = match rows {
                    RowSelection::All(_) => i,
                    RowSelection::Some(rows) => rows[i] as usize,
                };
                let (dx, h) = (&dx[i * c..(i + 1) * c], &h[row * c..(row + 1) * c]);
                // SAFETY: rows differ, and each belongs to one block.
                let r = (kernels.rms_norm_backward)(dx, h, w, eps, unsafe { dh.range(row * c..(row + 1) * c) });
                if wanted {
                    // SAFETY: each block has its own part.
                    (kernels.norm_weight)(dx, h, r, unsafe { parts.range(block * c..(block + 1) * c) });
                }
            }
        })?;
        if let Some(dw) = dw {
            need(op, "dw", c, dw.len())?;
            partial.chunks(c).for_each(|part| (self.kernels.add)(part, &mut dw[..c]));
        }
        Ok(())
    }

    fn embed_backward(&self, dh: &Buffer<f32>, tokens: &[u32], c: usize, dtable: &mut Buffer<f32>) -> Result<()> {
        let dh = first("embed_backward", "dh", dh, tokens.len() * c)?;
        if let Some(token) = tokens.iter().find(|&&token| (token as usize + 1) * c > dtable.len()) {
            return Err(Error::invalid(format!(
                "embed_backward: expected tokens below {}, found {token}",
                dtable.len() / c
            )));
        }
        for (&token, dh) in tokens.iter().zip(dh.chunks(c)) {
            (self.kernels.add)(dh, &mut dtable[token as usize * c..(token as usize + 1) * c]);
        }
        Ok(())
    }

    fn cross_entropy(
        &self,
        x: &Buffer<bf16>,
        head: &CpuMatrix,
        targets: &[u32],
        gradient: Option<LossGradient<'_, Self>>,
    ) -> Result<Vec<f64>> {
        loss::cross_entropy(self, x, head, targets, gradient)
    }

    fn dropout(&self, x: &Buffer<bf16>, [t, n]: [usize; 2], p: f32, key: u64, out: &mut Buffer<bf16>) -> Result<()> {
        let len = t * n;
        let x = first("dropout", "x", x, len)?;
        let out = Parts::new(first_mut("dropout", "out", out, len)?);
        let drop = kernels(self.isa).dropout;
        // SAFETY: pieces are disjoint.
        pieces(self, len, |at| drop(&x[at.clone()], at.start, p, key, unsafe { out.range(at) }))
    }

    fn dropout_backward(
        &self,
        dz: &Buffer<f32>,
        [t, n]: [usize; 2],
        p: f32,
        key: u64,
        dx: &mut Buffer<f32>,
    ) -> Result<()> {
        let len = t * n;
        let dz = first("dropout_backward", "dz", dz, len)?;
        let dx = Parts::new(first_mut("dropout_backward", "dx", dx, len)?);
        let drop = kernels(self.isa).dropout_backward;
        // SAFETY: pieces are disjoint.
        pieces(self, len, |at| drop(&dz[at.clone()], at.start, p, key, unsafe { dx.range(at) }))
    }

    fn clear(&self, x: &mut Buffer<f32>, [t, n]: [usize; 2]) -> Result<()> {
        first_mut("clear", "x", x, t * n)?.fill(0.0);
        Ok(())
    }

    fn sum_squares(&self, xs: &[(&Buffer<f32>, usize)]) -> Result<Vec<f64>> {
        optimise::sum_squares(self, xs)
    }

    fn adamw(&self, step: &AdamStep, tensors: Vec<AdamTensor<'_, Self>>) -> Result<()> {
        optimise::adamw(self, step, tensors)
    }

    fn write_matrix(&self, matrix: &mut CpuMatrix, values: &[bf16]) -> Result<()> {
        if values.len() != matrix.data.len() {
            return Err(Error::shape("write_matrix", matrix.data.len(), values.len()));
        }
        own(matrix, values.len())?.copy_from_slice(values);
        Ok(())
    }

    fn read_matrix(&self, matrix: &CpuMatrix) -> Result<Vec<bf16>> {
        Ok(matrix.data.to_vec())
    }
}

/// The values of a matrix, in memory of its own.
fn own(matrix: &mut CpuMatrix, len: usize) -> Result<&mut [bf16]> {
    if matrix.data.len() != len {
        return Err(Error::shape("adamw, matrix", len, matrix.data.len()));
    }
    if !matches!(matrix.data, MatrixData::Owned(_)) {
        matrix.data = MatrixData::Owned(matrix.data.to_vec());
    }
    match &mut matrix.data {
        MatrixData::Owned(values) => Ok(values),
        _ => Err(Error::internal("a matrix that was copied is not owned")),
    }
}

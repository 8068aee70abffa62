//! The optimiser's arithmetic: pieces of all parameters are one list of tasks, so that small ones keep no thread waiting.

use super::kernels::{AdamChunk, kernels};
use super::{Buffer, Cpu, PIECE, Parts, first, first_mut, own};
use crate::device::{AdamStep, AdamTensor, Moments, Update};
use crate::{Error, Result};
use half::bf16;
use std::ops::Range;

/// Where the pieces of vectors of these lengths begin in one list of them, and their number.
fn list(lengths: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut count = 0;
    let starts = lengths.map(|len| (count, count += len.div_ceil(PIECE)).0).collect();
    (starts, count)
}

/// Which vector piece `i` of the list belongs to, and which of its elements.
fn piece(starts: &[usize], i: usize, len: impl Fn(usize) -> usize) -> (usize, Range<usize>) {
    // Of those that begin at one place the last, for the others are empty.
    let number = starts.partition_point(|start| *start <= i) - 1;
    let begin = (i - starts[number]) * PIECE;
    (number, begin..len(number).min(begin + PIECE))
}

/// See [`crate::device::Backward::sum_squares`].
pub(super) fn sum_squares(cpu: &Cpu, xs: &[(&Buffer<f32>, usize)]) -> Result<Vec<f64>> {
    let xs: Vec<&[f32]> = xs.iter().map(|(x, len)| first("sum_squares", "x", x, *len)).collect::<Result<_>>()?;
    let (starts, count) = list(xs.iter().map(|x| x.len()));
    let mut sums = vec![0f64; count];
    let parts = Parts::new(&mut sums);
    cpu.team.run(count, |i| {
        let (number, at) = piece(&starts, i, |number| xs[number].len());
        // SAFETY: each piece has its own sum.
        let sum = unsafe { parts.range(i..i + 1) };
        sum[0] = xs[number][at].iter().map(|x| *x as f64 * *x as f64).sum();
    })?;
    let of = |(start, x): (&usize, &&[f32])| sums[*start..start + x.len().div_ceil(PIECE)].iter().sum();
    Ok(starts.iter().zip(&xs).map(of).collect())
}

/// State and parameter, to be taken apart.
enum Whole<'a> {
    Matrix(Parts<'a, f32>, Parts<'a, f32>, Parts<'a, f32>, Parts<'a, bf16>),
    Vector(Parts<'a, f32>, Parts<'a, f32>, Parts<'a, f32>),
    Half(Parts<'a, bf16>, Parts<'a, bf16>, Parts<'a, bf16>),
}

impl<'a> Whole<'a> {
    fn new(len: usize, moments: &'a mut Moments<Cpu>, parameter: Update<'a, Cpu>) -> Result<Self> {
        let op = "adamw";
        Ok(match (moments, parameter) {
            (Moments::Full { m, v, master }, Update::Matrix(matrix)) => Whole::Matrix(
                Parts::new(first_mut(op, "m", m, len)?),
                Parts::new(first_mut(op, "v", v, len)?),
                Parts::new(first_mut(op, "master", master, len)?),
                Parts::new(own(matrix, len)?),
            ),
            (Moments::Full { m, v, .. }, Update::Vector(w)) => Whole::Vector(
                Parts::new(first_mut(op, "m", m, len)?),
                Parts::new(first_mut(op, "v", v, len)?),
                Parts::new(first_mut(op, "weight", w, len)?),
            ),
            (Moments::Half { m, v }, Update::Matrix(matrix)) => Whole::Half(
                Parts::new(first_mut(op, "m", m, len)?),
                Parts::new(first_mut(op, "v", v, len)?),
                Parts::new(own(matrix, len)?),
            ),
            (Moments::Half { .. }, Update::Vector(_)) => {
                return Err(Error::invalid("adamw: a vector needs state in f32"));
            }
        })
    }

    /// The elements in `at`.
    ///
    /// # Safety
    /// No two live results of this function overlap.
    unsafe fn chunk(&self, at: Range<usize>) -> AdamChunk<'_> {
        // SAFETY: disjoint by this function's contract.
        unsafe {
            match self {
                Whole::Matrix(m, v, master, weight) => AdamChunk::Matrix(
                    m.range(at.clone()),
                    v.range(at.clone()),
                    master.range(at.clone()),
                    weight.range(at),
                ),
                Whole::Vector(m, v, w) => AdamChunk::Vector(m.range(at.clone()), v.range(at.clone()), w.range(at)),
                Whole::Half(m, v, w) => AdamChunk::Half(m.range(at.clone()), v.range(at.clone()), w.range(at)),
            }
        }
    }
}

/// See [`crate::device::Backward::adamw`].
pub(super) fn adamw(cpu: &Cpu, step: &AdamStep, tensors: Vec<AdamTensor<'_, Cpu>>) -> Result<()> {
    let mut all = Vec::with_capacity(tensors.len());
    for AdamTensor { gradient, len, moments, parameter, decay, key } in tensors {
        all.push((first("adamw", "gradient", gradient, len)?, Whole::new(len, moments, parameter)?, decay, key));
    }
    let (starts, count) = list(all.iter().map(|(gradient, ..)| gradient.len()));
    let adamw = kernels(cpu.isa).adamw;
    cpu.team.run(count, |i| {
        let (number, at) = piece(&starts, i, |number| all[number].0.len());
        let (gradient, whole, decay, key) = &all[number];
        // SAFETY: pieces are disjoint.
        let chunk = unsafe { whole.chunk(at.clone()) };
        adamw(step, *decay, *key, at.start, &gradient[at], chunk);
    })
}

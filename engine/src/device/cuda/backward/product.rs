//! Products of training: the tiles that a product goes to, and the slices of rows that a small gradient is summed in.

use crate::device::cuda::matrix::padded;
use crate::device::cuda::memory::Buffer;
use crate::device::cuda::state::State;
use crate::device::cuda::{Cuda, CudaMatrix, Shared, int, need, residual};
use crate::device::{Output, Term};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{AddSlicesParams, ProductParams, ProductTerm};
use biomistral_nlu_kernels::table::{self, ADD_SLICES, Kernel};
use half::bf16;

/// Rows of a slice: a LoRA factor's gradient has too few tiles to keep a device busy with.
const SLICE: usize = 512;
/// Outputs up to which a gradient is summed in slices: 64 tiles.
const SMALL: usize = 64 * 128 * 128;

/// Where the elements of a product go: address, elements from row to row, and how.
pub(super) struct Place {
    out: u64,
    ldo: usize,
    how: i32,
}

impl Place {
    /// f32, overwritten.
    pub fn store(out: u64, ldo: usize) -> Self {
        Place { out, ldo, how: 1 }
    }

    /// f32, added to.
    pub fn add(out: u64, ldo: usize) -> Self {
        Place { out, ldo, how: 2 }
    }

    /// `[m, n]` of a buffer, which grows where it is overwritten.
    fn of(op: &str, output: Output<'_, Cuda>, m: usize, n: usize) -> Result<Self> {
        let (half, full) = (padded(n), residual(n));
        Ok(match output {
            Output::Round(y) => {
                y.reserve(m * half)?;
                Place { out: y.address(0), ldo: half, how: 0 }
            }
            Output::Store(y) => {
                y.reserve(m * full)?;
                Place::store(y.address(0), full)
            }
            Output::Add(y) => {
                need(op, "y", m * full, y.len())?;
                Place::add(y.address(0), full)
            }
        })
    }
}

/// Launches `scale · Σ terms`, `[m, n]`.
pub(super) fn launch(
    shared: &Shared,
    op: &str,
    kernel: &Kernel<ProductParams>,
    terms: &[ProductTerm],
    (m, n): (usize, usize),
    scale: f32,
    place: Place,
) -> Result<()> {
    launch_slices(shared, op, kernel, terms, (m, n), scale, place, i32::MAX as usize)
}

#[allow(clippy::too_many_arguments)]
fn launch_slices(
    shared: &Shared,
    op: &str,
    kernel: &Kernel<ProductParams>,
    terms: &[ProductTerm],
    (m, n): (usize, usize),
    scale: f32,
    place: Place,
    slice: usize,
) -> Result<()> {
    let mut all = [ProductTerm::default(); 6];
    if terms.len() > all.len() {
        return Err(Error::shape(op, format!("at most {} terms", all.len()), terms.len()));
    }
    all[..terms.len()].copy_from_slice(terms);
    let params = ProductParams {
        terms: all,
        out: place.out,
        ldo: place.ldo as i64,
        m: int(op, m)?,
        n: int(op, n)?,
        term_count: terms.len() as i32,
        output: place.how,
        slice: int(op, slice)?,
        scale,
    };
    shared.launch(kernel, &params)
}

/// A matrix as training can use it.
pub(super) fn trained<'a>(op: &str, matrix: &'a CudaMatrix) -> Result<&'a CudaMatrix> {
    if matrix.int8() {
        return Err(Error::unsupported(format!("{op} with a weight of int8")));
    }
    Ok(matrix)
}

/// The terms of a product of `t` rows: `along` tells the side of a weight that is summed over.
fn terms(
    op: &str,
    list: &[Term<'_, Cuda>],
    t: usize,
    other: impl Fn(&CudaMatrix) -> usize,
    along: impl Fn(&CudaMatrix) -> usize,
) -> Result<(Vec<ProductTerm>, usize)> {
    let sides: Vec<usize> = list.iter().map(|term| other(term.weight)).collect();
    let n = match sides[..] {
        [side, ..] if sides.iter().all(|other| *other == side) => side,
        _ => return Err(Error::shape(op, "terms of one shape", sides)),
    };
    let term = |&Term { x, weight }: &Term<'_, Cuda>| {
        let (k, weight) = (along(weight), trained(op, weight)?.weight());
        need(op, "x", t * padded(k), x.len())?;
        let (a, lda) = (x.address(0), padded(k) as i64);
        Ok(ProductTerm { a, b: weight.data, lda, ldb: weight.ld, k: int(op, k)?, reserved: 0 })
    };
    Ok((list.iter().map(term).collect::<Result<_>>()?, n))
}

/// `y = scale · Σ xᵢ Wᵢᵀ`.
pub(super) fn linear(cuda: &Cuda, list: &[Term<'_, Cuda>], t: usize, scale: f32, y: Output<'_, Cuda>) -> Result<()> {
    let op = "linear";
    let (terms, n) = terms(op, list, t, |weight| weight.rows, |weight| weight.cols)?;
    let place = Place::of(op, y, t, n)?;
    cuda.op(|_| launch(&cuda.shared, op, table::linear(n), &terms, (t, n), scale, place))
}

/// `dx = scale · Σ dyᵢ Wᵢ`.
pub(super) fn linear_dx(
    cuda: &Cuda,
    list: &[Term<'_, Cuda>],
    t: usize,
    scale: f32,
    dx: Output<'_, Cuda>,
) -> Result<()> {
    let op = "linear_dx";
    let (terms, k) = terms(op, list, t, |weight| weight.cols, |weight| weight.rows)?;
    let place = Place::of(op, dx, t, k)?;
    cuda.op(|_| launch(&cuda.shared, op, table::linear_dx(k), &terms, (t, k), scale, place))
}

/// `dw += dyᵀ x`.
pub(super) fn linear_dw(
    cuda: &Cuda,
    (dy, n): (&Buffer<bf16>, usize),
    (x, k): (&Buffer<bf16>, usize),
    t: usize,
    dw: &mut Buffer<f32>,
) -> Result<()> {
    let op = "linear_dw";
    need(op, "dy", t * padded(n), dy.len())?;
    need(op, "x", t * padded(k), x.len())?;
    need(op, "dw", n * k, dw.len())?;
    let (lda, ldb) = (padded(n) as i64, padded(k) as i64);
    let term = ProductTerm { a: dy.address(0), b: x.address(0), lda, ldb, k: int(op, t)?, reserved: 0 };
    cuda.op(|state| add_outer(&cuda.shared, state, op, term, (n, k), dw.address(0)))
}

/// Adds `Aᵀ B` of one term to the dense `[m, n]` at `out`.
fn add_outer(
    shared: &Shared,
    state: &mut State,
    op: &str,
    term: ProductTerm,
    (m, n): (usize, usize),
    out: u64,
) -> Result<()> {
    let (kernel, count) = (table::linear_dw(m, n), m * n);
    let slices = (term.k as usize).div_ceil(SLICE);
    if slices < 2 || count > SMALL {
        return launch(shared, op, kernel, &[term], (m, n), 1.0, Place::add(out, n));
    }
    let bytes = slices * count * size_of::<f32>();
    state.scratch.begin(&[bytes])?;
    let (_, address) = state.scratch.take(bytes);
    launch_slices(shared, op, kernel, &[term], (m, n), 1.0, Place::store(address, n), SLICE)?;
    let slice_count = int(op, slices)?;
    shared.launch(&ADD_SLICES, &AddSlicesParams { slices: address, out, count: count as i64, slice_count, reserved: 0 })
}

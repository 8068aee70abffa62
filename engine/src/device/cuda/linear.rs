//! Projections: which kernel a product goes to, and the low-rank updates within its accumulators.

use super::launch::bytes_of;
use super::matrix::padded;
use super::memory::Buffer;
use super::state::State;
use super::{Cuda, Shared, int, need, residual};
use crate::device::Linear;
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{GemmParams, LoraPart, Weight};
use biomistral_nlu_kernels::table;
use half::bf16;

/// Parameters of `x Wᵀ` of `t` rows for several weights of one input, the low-rank products of this pass launched. `out` and
/// `n` are the caller's to set.
pub(super) fn product(
    shared: &Shared,
    state: &mut State,
    op: &str,
    x: &Buffer<bf16>,
    t: usize,
    linears: &[Linear<'_, Cuda>],
) -> Result<GemmParams> {
    let k = linears.first().map_or(0, |linear| linear.weight.cols);
    if let Some(other) = linears.iter().find(|linear| linear.weight.cols != k) {
        return Err(Error::shape(op, k, other.weight.cols));
    }
    if linears.iter().any(|linear| linear.weight.int8() != linears[0].weight.int8()) {
        return Err(Error::invalid(format!("{op}: expected weights of one storage, found bf16 and int8")));
    }
    let ldx = padded(k);
    need(op, "x", t * ldx, x.len())?;
    let mut weights = [Weight::default(); 3];
    weights.iter_mut().zip(linears).for_each(|(weight, linear)| *weight = linear.weight.weight());
    let mut params = GemmParams {
        x: x.address(0),
        ldx: ldx as i64,
        weights,
        m: int(op, t)?,
        n: int(op, linears.first().map_or(0, |linear| linear.weight.rows))?,
        k: int(op, k)?,
        scale: 1.0,
        ..GemmParams::default()
    };
    let parts = low_rank(shared, state, op, &params, t, linears)?;
    params.lora = if parts.is_empty() { 0 } else { state.lists.put(bytes_of(&parts))? };
    params.lora_count = int(op, parts.len())?;
    Ok(params)
}

/// Launches `u = scale · x Aᵀ` for every update and describes what is left to do.
fn low_rank(
    shared: &Shared,
    state: &mut State,
    op: &str,
    product: &GemmParams,
    t: usize,
    linears: &[Linear<'_, Cuda>],
) -> Result<Vec<LoraPart>> {
    let all = || linears.iter().enumerate().flat_map(|(weight, linear)| linear.lora.iter().map(move |l| (weight, l)));
    let bytes = |rank: usize| t * padded(rank) * size_of::<bf16>();
    let pieces: Vec<usize> = all().map(|(_, lora)| bytes(lora.a.rows)).collect();
    state.scratch.begin(&pieces)?;
    let mut parts = Vec::with_capacity(pieces.len());
    for (weight, lora) in all() {
        let (rank, rows) = (lora.a.rows, linears[weight].weight.rows);
        if lora.a.int8() || lora.b.int8() {
            return Err(Error::unsupported(format!("{op}: a low-rank update of int8")));
        }
        if lora.a.cols != product.k as usize || lora.b.rows != rows || lora.b.cols != rank || lora.rows.end > t {
            let want = format!("A [R, {}] and B [{rows}, R] for at most {t} rows", product.k);
            let got =
                format!("A [{rank}, {}] and B [{}, {}] for {:?}", lora.a.cols, lora.b.rows, lora.b.cols, lora.rows);
            return Err(Error::shape(format!("{op}, low-rank update"), want, got));
        }
        let (_, u) = state.scratch.take(bytes(rank));
        let ldu = padded(rank);
        let first = lora.rows.start as u64 * size_of::<bf16>() as u64;
        let narrow = GemmParams {
            x: product.x + first * product.ldx as u64,
            ldx: product.ldx,
            weights: [lora.a.weight(), Weight::default(), Weight::default()],
            m: int(op, lora.rows.len())?,
            n: int(op, rank)?,
            k: product.k,
            out: u + first * ldu as u64,
            ldo: ldu as i64,
            scale: lora.scale,
            ..GemmParams::default()
        };
        shared.launch(table::lora_u(lora.rows.len()), &narrow)?;
        let b = lora.b.weight();
        parts.push(LoraPart {
            u,
            b: b.data,
            ldu: ldu as i64,
            ldb: b.ld,
            row_begin: int(op, lora.rows.start)?,
            row_end: int(op, lora.rows.end)?,
            rank: int(op, rank)?,
            weight: weight as i32,
        });
    }
    Ok(parts)
}

/// `h[t, :] += x[t, :] · Wᵀ`.
pub(super) fn add(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    linear: &Linear<'_, Cuda>,
    t: usize,
    h: &mut Buffer<f32>,
) -> Result<()> {
    let ldh = residual(linear.weight.rows);
    need("linear_add", "h", t * ldh, h.len())?;
    let mut params = product(shared, state, "linear_add", x, t, std::slice::from_ref(linear))?;
    (params.out, params.ldo) = (h.address(0), ldh as i64);
    shared.launch(table::add(t, linear.weight.int8()), &params)
}

/// `a = silu(x Wgᵀ) ∘ (x Wuᵀ)`.
pub(super) fn swiglu(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    linears: &[Linear<'_, Cuda>; 2],
    t: usize,
    a: &mut Buffer<bf16>,
) -> Result<()> {
    let n = linears[0].weight.rows;
    if linears[1].weight.rows != n {
        return Err(Error::shape("gate_up", [n, n], [n, linears[1].weight.rows]));
    }
    let lda = padded(n);
    a.reserve(t * lda)?;
    let mut params = product(shared, state, "gate_up", x, t, linears)?;
    (params.out, params.ldo) = (a.address(0), lda as i64);
    shared.launch(table::swiglu(t, linears[0].weight.int8()), &params)
}

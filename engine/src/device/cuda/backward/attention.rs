//! Attention over packed examples, forward and backward.

use super::super::launch::bytes_of;
use super::super::matrix::padded;
use super::super::memory::Buffer;
use super::super::state::State;
use super::super::{Shared, int, need, residual};
use crate::device::PackedRows;
use crate::{Error, Result};
use biomistral_nlu_kernels::packed_items;
use biomistral_nlu_kernels::params::PackedAttentionParams;
use biomistral_nlu_kernels::table::{PACKED_DELTA, Packed, packed};
use half::bf16;

/// The kernels for these rows, and what all of them are told; operands are checked.
fn prepare(
    state: &mut State,
    op: &str,
    [q, k, v]: [&Buffer<bf16>; 3],
    rows: &PackedRows<'_>,
) -> Result<(Packed, PackedAttentionParams)> {
    let &PackedRows { examples, heads, kv_heads, head_dim: d, window } = rows;
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || window == Some(0) {
        return Err(Error::invalid(format!(
            "{op}: expected a multiple of {kv_heads} heads and a positive window, found {heads} and {window:?}"
        )));
    }
    let mut next = 0;
    for example in examples {
        if example.start != next || example.is_empty() {
            return Err(Error::invalid(format!("{op}: expected examples one after the other, found {example:?}")));
        }
        next = example.end;
    }
    let Some(kernels) = packed(d) else {
        return Err(Error::unsupported(format!("training with heads of width {d} on a CUDA device")));
    };
    let (t, ldq, ldk) = (rows.rows(), padded(heads * d), padded(kv_heads * d));
    need(op, "q", t * ldq, q.len())?;
    need(op, "k", t * ldk, k.len())?;
    need(op, "v", t * ldk, v.len())?;
    let items = packed_items(examples, kernels.rows).ok_or_else(|| Error::invalid(format!("{op}: too many rows")))?;
    let root = 1.0 / (d as f64).sqrt();
    let params = PackedAttentionParams {
        q: q.address(0),
        k: k.address(0),
        v: v.address(0),
        ldq: ldq as i64,
        ldk: ldk as i64,
        ld_dq: residual(heads * d) as i64,
        ld_dk: residual(kv_heads * d) as i64,
        items: state.lists.put(bytes_of(&items))?,
        item_count: int(op, items.len())?,
        rows: int(op, t)?,
        heads: int(op, heads)?,
        kv_heads: int(op, kv_heads)?,
        head_dim: int(op, d)?,
        // No row is as far from another as a window that does not fit.
        window: u32::try_from(window.unwrap_or(0)).unwrap_or(0),
        scale: (std::f64::consts::LOG2_E * root) as f32,
        root: root as f32,
        ..PackedAttentionParams::default()
    };
    Ok((kernels, params))
}

/// See [`crate::device::Backward::packed_attention`].
pub(super) fn forward(
    shared: &Shared,
    state: &mut State,
    qkv: [&Buffer<bf16>; 3],
    rows: &PackedRows<'_>,
    o: &mut Buffer<bf16>,
    lse: &mut Buffer<f32>,
) -> Result<()> {
    let (kernels, mut params) = prepare(state, "packed_attention", qkv, rows)?;
    o.reserve(rows.rows() * params.ldq as usize)?;
    lse.reserve(rows.rows() * rows.heads)?;
    (params.o, params.lse) = (o.address(0), lse.address(0));
    shared.launch(kernels.forward, &params)
}

/// See [`crate::device::Backward::packed_attention_backward`].
pub(super) fn backward(
    shared: &Shared,
    state: &mut State,
    qkv: [&Buffer<bf16>; 3],
    (o, lse): (&Buffer<bf16>, &Buffer<f32>),
    d_o: &Buffer<bf16>,
    rows: &PackedRows<'_>,
    [dq, dk, dv]: [&mut Buffer<f32>; 3],
) -> Result<()> {
    let op = "packed_attention_backward";
    let (kernels, mut params) = prepare(state, op, qkv, rows)?;
    let t = rows.rows();
    need(op, "o", t * params.ldq as usize, o.len())?;
    need(op, "d_o", t * params.ldq as usize, d_o.len())?;
    need(op, "lse", t * rows.heads, lse.len())?;
    dq.reserve(t * params.ld_dq as usize)?;
    dk.reserve(t * params.ld_dk as usize)?;
    dv.reserve(t * params.ld_dk as usize)?;
    let delta = t * rows.heads * size_of::<f32>();
    state.scratch.begin(&[delta])?;
    (_, params.delta) = state.scratch.take(delta);
    (params.o, params.d_o, params.lse) = (o.address(0), d_o.address(0), lse.address(0));
    (params.dq, params.dk, params.dv) = (dq.address(0), dk.address(0), dv.address(0));
    shared.launch(&PACKED_DELTA, &params)?;
    shared.launch(kernels.dq, &params)?;
    shared.launch(kernels.dkv, &params)
}

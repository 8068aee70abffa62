//! Queries, keys, values, and attention over the pages of the cache.

use super::launch::bytes_of;
use super::linear::product;
use super::matrix::padded;
use super::memory::Buffer;
use super::state::State;
use super::{Cuda, Shared, int, need};
use crate::device::{Attention, Layout, Linear, RopeTable};
use crate::{Error, Result};
use biomistral_nlu_kernels::attention_work::{Sequence, Shape, plan};
use biomistral_nlu_kernels::params::{AttentionParams, CombineParams, QkvParams};
use biomistral_nlu_kernels::table::{self, ATTENTION_COMBINE};
use half::bf16;

/// What all layers of a pass share: uploaded by the first of them.
pub(super) struct PassPlan {
    layout: Layout,
    heads: usize,
    window: Option<usize>,
    /// Addresses of the lists.
    positions: u64,
    slots: u64,
    pages: u64,
    prompt: (u64, usize),
    split: (u64, usize),
    combine: (u64, usize),
    partial_rows: usize,
}

impl PassPlan {
    fn of(state: &mut State, at: &Attention<'_, Cuda>) -> Result<Self> {
        let (layout, kv) = (at.layout, &*at.kv);
        let mut slots = Vec::with_capacity(layout.rows());
        for s in &layout.sequences {
            for slot in s.cached..s.cached + s.rows() {
                slots.push(kv.place(&s.pages, slot)?);
            }
        }
        let shape = Shape {
            heads: at.heads,
            kv_heads: kv.kv_heads(),
            head_dim: kv.head_dim(),
            window: at.window,
            split_always: false,
        };
        let sequences: Vec<Sequence<'_>> = layout
            .sequences
            .iter()
            .map(|s| Sequence { row: s.row, cached: s.cached, chain: s.chain, tree: &s.tree, pages: &s.pages })
            .collect();
        let work = plan(&shape, &layout.positions, &sequences);
        let lists = &mut state.lists;
        Ok(PassPlan {
            heads: at.heads,
            window: at.window,
            positions: lists.put(&layout.positions)?,
            slots: lists.put(&slots)?,
            pages: lists.put(&work.pages)?,
            prompt: (lists.put(bytes_of(&work.prompt))?, work.prompt.len()),
            split: (lists.put(bytes_of(&work.split))?, work.split.len()),
            combine: (lists.put(bytes_of(&work.combine))?, work.combine.len()),
            partial_rows: work.partial_rows,
            layout: layout.clone(),
        })
    }
}

/// The plan of this pass: that of the layer before where there is one.
fn planned<'s>(state: &'s mut State, at: &Attention<'_, Cuda>) -> Result<&'s PassPlan> {
    let same = |p: &PassPlan| p.heads == at.heads && p.window == at.window && p.layout == *at.layout;
    let plan = match state.plan.take().filter(same) {
        Some(plan) => plan,
        None => {
            at.kv.check(at.layout)?;
            PassPlan::of(state, at)?
        }
    };
    Ok(state.plan.insert(plan))
}

/// See [`crate::device::Device::qkv`].
pub(super) fn qkv(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    weights: &[Linear<'_, Cuda>; 3],
    rope: &RopeTable<Cuda>,
    at: &mut Attention<'_, Cuda>,
    q: &mut Buffer<bf16>,
) -> Result<()> {
    let t = at.layout.rows();
    let [n_q, n_k, n_v] = weights.each_ref().map(|w| w.weight.rows);
    let (d, kv_heads) = (at.kv.head_dim(), at.kv.kv_heads());
    if n_q != at.heads * d || n_k != kv_heads * d || n_v != n_k || !at.heads.is_multiple_of(kv_heads) {
        let want = (at.heads * d, kv_heads * d, kv_heads * d);
        return Err(Error::shape("qkv", want, (n_q, n_k, n_v)));
    }
    let table = at.layout.positions.iter().max().map_or(0, |&p| p as usize + 1) * (d / 2);
    need("qkv", "rope table", table, rope.cos.len().min(rope.sin.len()))?;
    let ldq = padded(n_q);
    q.reserve(t * ldq)?;
    let [k_cache, v_cache] = at.kv.layer(at.layer)?;
    let plan = planned(state, at)?;
    let (slots, positions) = (plan.slots, plan.positions);
    let mut gemm = product(shared, state, "qkv", x, t, weights)?;
    gemm.n = int("qkv", n_q + n_k + n_v)?;
    (gemm.out, gemm.ldo) = (q.address(0), ldq as i64);
    let params = QkvParams {
        gemm,
        k_cache,
        v_cache,
        slots,
        positions,
        cos: rope.cos.address(0),
        sin: rope.sin.address(0),
        heads: int("qkv", at.heads)?,
        kv_heads: int("qkv", kv_heads)?,
        head_dim: int("qkv", d)?,
        reserved: 0,
    };
    shared.launch(table::qkv(t, weights[0].weight.int8()), &params)
}

/// See [`crate::device::Device::attention`].
pub(super) fn attention(
    shared: &Shared,
    state: &mut State,
    q: &Buffer<bf16>,
    at: &mut Attention<'_, Cuda>,
    o: &mut Buffer<bf16>,
) -> Result<()> {
    let (t, d) = (at.layout.rows(), at.kv.head_dim());
    let ld = padded(at.heads * d);
    need("attention", "q", t * ld, q.len())?;
    o.reserve(t * ld)?;
    let [k, v] = at.kv.layer(at.layer)?;
    let plan = planned(state, at)?;
    let (positions, pages, partial_rows) = (plan.positions, plan.pages, plan.partial_rows);
    let (prompt, split, combine) = (plan.prompt, plan.split, plan.combine);
    let sizes = [partial_rows * d * size_of::<f32>(), partial_rows * 2 * size_of::<f32>()];
    state.scratch.begin(&sizes)?;
    let [(_, partial_o), (_, partial_ml)] = sizes.map(|bytes| state.scratch.take(bytes));
    let scale = (std::f64::consts::LOG2_E / (d as f64).sqrt()) as f32;
    let op = "attention";
    let (heads, kv_heads, head_dim) = (int(op, at.heads)?, int(op, at.kv.kv_heads())?, int(op, d)?);
    let params = |(items, count): (u64, usize)| -> Result<AttentionParams> {
        Ok(AttentionParams {
            q: q.address(0),
            k,
            v,
            out: o.address(0),
            ldq: ld as i64,
            ldo: ld as i64,
            items,
            positions,
            pages,
            partial_o,
            partial_ml,
            item_count: int(op, count)?,
            heads,
            kv_heads,
            head_dim,
            window: int(op, at.window.unwrap_or(0))?.cast_unsigned(),
            scale,
        })
    };
    let (for_prompts, for_splits) =
        table::attention(d).ok_or_else(|| Error::unsupported(format!("heads of width {d} on a CUDA device")))?;
    if prompt.1 > 0 {
        shared.launch(for_prompts, &params(prompt)?)?;
    }
    if split.1 > 0 {
        shared.launch(for_splits, &params(split)?)?;
    }
    if combine.1 == 0 {
        return Ok(());
    }
    let combined = CombineParams {
        rows: combine.0,
        partial_o,
        partial_ml,
        out: o.address(0),
        ldo: ld as i64,
        row_count: int(op, combine.1)?,
        heads,
        kv_heads,
        head_dim,
    };
    shared.launch(&ATTENTION_COMBINE, &combined)
}

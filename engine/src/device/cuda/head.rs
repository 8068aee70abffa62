//! The head: logits of chosen tokens, of all, or only their log-sum-exp.

use super::launch::bytes_of;
use super::matrix::padded;
use super::memory::Buffer;
use super::state::State;
use super::{CudaMatrix, Shared, int, need};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{GemmParams, HeadAsk, HeadLseParams, HeadSomeParams, Weight};
use biomistral_nlu_kernels::table::{self, HEAD_LSE, HEAD_LSE_FOLD, HEAD_LSE_INT8, HEAD_SOME, HEAD_SOME_INT8};
use half::bf16;

/// Vocabulary rows whose maximum and sum are kept as one pair.
const LSE_COLUMNS: usize = 64;

/// Logits of chosen vocabulary rows.
pub(super) fn some(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    head: &CudaMatrix,
    asks: &[(u32, &[u32])],
) -> Result<Vec<f32>> {
    let op = "head_some";
    let ldx = padded(head.cols);
    let ids: Vec<u32> = asks.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    if let Some(id) = ids.iter().find(|&&id| id as usize >= head.rows) {
        return Err(Error::invalid(format!("{op}: expected ids below {}, found {id}", head.rows)));
    }
    let last = asks.iter().map(|(row, _)| *row as usize + 1).max().unwrap_or(0);
    need(op, "x", last * ldx, x.len())?;
    let mut y = vec![0f32; ids.len()];
    if ids.is_empty() {
        return Ok(y);
    }
    let mut first = 0;
    let list: Vec<HeadAsk> = asks
        .iter()
        .map(|(row, ids)| {
            let ask = HeadAsk { first, count: ids.len() as u32, row: *row, reserved: 0 };
            first += ask.count;
            ask
        })
        .collect();
    state.scratch.begin(&[size_of_val(&y[..])])?;
    let (place, out) = state.scratch.take(size_of_val(&y[..]));
    let params = HeadSomeParams {
        x: x.address(0),
        ldx: ldx as i64,
        head: head.weight(),
        ask: state.lists.put(bytes_of(&list))?,
        ids: state.lists.put(&ids)?,
        out,
        asks: int(op, list.len())?,
        longest: int(op, asks.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0))?,
        k: int(op, head.cols)?,
        reserved: 0,
    };
    shared.launch(if head.int8() { &HEAD_SOME_INT8 } else { &HEAD_SOME }, &params)?;
    state.scratch.read(op, place, &mut y)?;
    Ok(y)
}

/// All logits of one row.
pub(super) fn full(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    head: &CudaMatrix,
    row: u32,
) -> Result<Vec<f32>> {
    let op = "head_all";
    let ldx = padded(head.cols);
    need(op, "x", (row as usize + 1) * ldx, x.len())?;
    let mut y = vec![0f32; head.rows];
    state.scratch.begin(&[size_of_val(&y[..])])?;
    let (place, out) = state.scratch.take(size_of_val(&y[..]));
    let params = GemmParams {
        x: x.address(row as usize * ldx),
        ldx: ldx as i64,
        weights: [head.weight(), Weight::default(), Weight::default()],
        m: 1,
        n: int(op, head.rows)?,
        k: int(op, head.cols)?,
        out,
        ldo: head.rows as i64,
        scale: 1.0,
        ..GemmParams::default()
    };
    shared.launch(table::logits(1, head.int8()), &params)?;
    state.scratch.read(op, place, &mut y)?;
    Ok(y)
}

/// Log-sum-exp over the vocabulary of each row; the logits are never stored.
pub(super) fn lse(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    head: &CudaMatrix,
    rows: &[u32],
) -> Result<Vec<f64>> {
    let op = "head_lse";
    let ldx = padded(head.cols);
    let last = rows.iter().max().map_or(0, |&row| row as usize + 1);
    need(op, "x", last * ldx, x.len())?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut pairs = vec![[0f64; 2]; rows.len()];
    let partials = rows.len() * head.rows.div_ceil(LSE_COLUMNS) * size_of::<[f32; 2]>();
    state.scratch.begin(&[partials, size_of_val(&pairs[..])])?;
    let (_, partials) = state.scratch.take(partials);
    let (place, out) = state.scratch.take(size_of_val(&pairs[..]));
    let params = HeadLseParams {
        x: x.address(0),
        ldx: ldx as i64,
        rows: state.lists.put(rows)?,
        head: head.weight(),
        partials,
        out,
        m: int(op, rows.len())?,
        n: int(op, head.rows)?,
        k: int(op, head.cols)?,
        reserved: 0,
    };
    shared.launch(if head.int8() { &HEAD_LSE_INT8 } else { &HEAD_LSE }, &params)?;
    shared.launch(&HEAD_LSE_FOLD, &params)?;
    state.scratch.read(op, place, &mut pairs)?;
    Ok(pairs.into_iter().map(|[max, sum]| max + sum.ln()).collect())
}

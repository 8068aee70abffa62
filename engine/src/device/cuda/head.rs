//! The head: logits of chosen tokens, of all, or only their log-sum-exp.

use super::launch::bytes_of;
use super::matrix::padded;
use super::memory::Buffer;
use super::state::State;
use super::{CudaMatrix, Shared, int, need};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{GemmParams, HeadAsk, HeadSomeParams, Weight};
use biomistral_nlu_kernels::table::{HEAD_SOME, SKINNY_LOGITS};
use half::bf16;

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
    shared.launch(&HEAD_SOME, &params)?;
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
    shared.launch(&SKINNY_LOGITS, &params)?;
    state.scratch.read(op, place, &mut y)?;
    Ok(y)
}

/// Log-sum-exp over the vocabulary of each row.
pub(super) fn lse(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<bf16>,
    head: &CudaMatrix,
    rows: &[u32],
) -> Result<Vec<f64>> {
    rows.iter()
        .map(|&row| {
            let logits = full(shared, state, x, head, row)?;
            let max = logits.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
            Ok(max + logits.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln())
        })
        .collect()
}

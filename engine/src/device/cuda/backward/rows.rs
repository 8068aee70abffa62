//! What training does row by row: copies, rotary embedding, SwiGLU, and the gradients of norms and embeddings.

use super::super::matrix::padded;
use super::super::memory::Buffer;
use super::super::state::State;
use super::super::{Cuda, Shared, int, need, residual};
use crate::device::cuda::launch::bytes_of;
use crate::device::{RopeTable, RowSelection};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{
    CopyParams, EmbedBackwardParams, EmbedSegment, RmsNormBackwardParams, RopeParams, SwigluParams,
};
use biomistral_nlu_kernels::table::{
    COPY_ROWS, EMBED_BACKWARD, RMS_NORM_BACKWARD, RMS_NORM_DW, RMS_NORM_DW_FOLD, ROPE_ROWS, ROUND_ROWS,
    SWIGLU_BACKWARD, SWIGLU_ROWS,
};
use half::bf16;

/// Rows of a partial sum of a norm's weight gradient.
const NORM_ROWS: usize = 64;

/// See [`crate::device::Backward::copy`].
pub(super) fn copy(shared: &Shared, x: &Buffer<f32>, [t, n]: [usize; 2], out: &mut Buffer<f32>) -> Result<()> {
    let (op, ld) = ("copy", residual(n));
    need(op, "x", t * ld, x.len())?;
    out.reserve(t * ld)?;
    let (row_count, columns) = (int(op, t)?, int(op, n)?);
    let params =
        CopyParams { x: x.address(0), out: out.address(0), ldx: ld as i64, ldo: ld as i64, row_count, columns };
    shared.launch(&COPY_ROWS, &params)
}

/// See [`crate::device::Backward::round`].
pub(super) fn round(shared: &Shared, x: &Buffer<f32>, [t, n]: [usize; 2], out: &mut Buffer<bf16>) -> Result<()> {
    let (op, ldx, ldo) = ("round", residual(n), padded(n));
    need(op, "x", t * ldx, x.len())?;
    out.reserve(t * ldo)?;
    let (row_count, columns) = (int(op, t)?, int(op, n)?);
    let params =
        CopyParams { x: x.address(0), out: out.address(0), ldx: ldx as i64, ldo: ldo as i64, row_count, columns };
    shared.launch(&ROUND_ROWS, &params)
}

/// See [`crate::device::Backward::clear`].
pub(super) fn clear(x: &mut Buffer<f32>, [t, n]: [usize; 2]) -> Result<()> {
    let len = if t > 1 { t * residual(n) } else { t * n };
    x.reserve(len)?;
    x.clear(len)
}

/// See [`crate::device::Backward::rope`].
#[allow(clippy::too_many_arguments)]
pub(super) fn rope(
    shared: &Shared,
    state: &mut State,
    x: &Buffer<f32>,
    n: usize,
    positions: &[u32],
    table: &RopeTable<Cuda>,
    inverse: bool,
    out: &mut Buffer<bf16>,
) -> Result<()> {
    let (op, t, half) = ("rope", positions.len(), table.cos.len() / table.positions.max(1));
    if half == 0 || !n.is_multiple_of(2 * half) || table.sin.len() < table.cos.len() {
        return Err(Error::shape(op, format!("heads of width {}", 2 * half), n));
    }
    if let Some(position) = positions.iter().find(|&&p| p as usize >= table.positions) {
        let limit = table.positions;
        return Err(Error::invalid(format!("rope: expected positions below {limit}, found {position}")));
    }
    let (ldx, ldo) = (residual(n), padded(n));
    need(op, "x", t * ldx, x.len())?;
    out.reserve(t * ldo)?;
    let params = RopeParams {
        x: x.address(0),
        out: out.address(0),
        positions: state.lists.put(positions)?,
        cos: table.cos.address(0),
        sin: table.sin.address(0),
        ldx: ldx as i64,
        ldo: ldo as i64,
        row_count: int(op, t)?,
        columns: int(op, n)?,
        head_dim: int(op, 2 * half)?,
        inverse: i32::from(inverse),
    };
    shared.launch(&ROPE_ROWS, &params)
}

/// See [`crate::device::Backward::swiglu`].
pub(super) fn swiglu(
    shared: &Shared,
    gate: &Buffer<bf16>,
    up: &Buffer<bf16>,
    [t, n]: [usize; 2],
    a: &mut Buffer<bf16>,
) -> Result<()> {
    let (op, ld) = ("swiglu", padded(n));
    need(op, "gate", t * ld, gate.len())?;
    need(op, "up", t * ld, up.len())?;
    a.reserve(t * ld)?;
    let params = SwigluParams {
        gate: gate.address(0),
        up: up.address(0),
        out: a.address(0),
        ld: ld as i64,
        row_count: int(op, t)?,
        columns: int(op, n)?,
        ..SwigluParams::default()
    };
    shared.launch(&SWIGLU_ROWS, &params)
}

/// See [`crate::device::Backward::swiglu_backward`].
pub(super) fn swiglu_backward(
    shared: &Shared,
    da: &Buffer<bf16>,
    gate: &Buffer<bf16>,
    up: &Buffer<bf16>,
    [t, n]: [usize; 2],
    [dgate, dup]: [&mut Buffer<bf16>; 2],
) -> Result<()> {
    let (op, ld) = ("swiglu_backward", padded(n));
    for (name, x) in [("da", da), ("gate", gate), ("up", up)] {
        need(op, name, t * ld, x.len())?;
    }
    dgate.reserve(t * ld)?;
    dup.reserve(t * ld)?;
    let params = SwigluParams {
        gate: gate.address(0),
        up: up.address(0),
        out: 0,
        dout: da.address(0),
        dgate: dgate.address(0),
        dup: dup.address(0),
        ld: ld as i64,
        row_count: int(op, t)?,
        columns: int(op, n)?,
    };
    shared.launch(&SWIGLU_BACKWARD, &params)
}

/// See [`crate::device::Backward::rms_norm_backward`].
#[allow(clippy::too_many_arguments)]
pub(super) fn rms_norm_backward(
    shared: &Shared,
    state: &mut State,
    dx: &Buffer<f32>,
    h: &Buffer<f32>,
    w: &Buffer<f32>,
    eps: f32,
    rows: RowSelection<'_>,
    dh: &mut Buffer<f32>,
    dw: Option<&mut Buffer<f32>>,
) -> Result<()> {
    let (op, c) = ("rms_norm_backward", w.len());
    let (t, last) = match rows {
        RowSelection::All(t) => (t, t),
        RowSelection::Some(rows) => {
            if !rows.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(Error::invalid("rms_norm_backward: expected ascending rows"));
            }
            (rows.len(), rows.last().map_or(0, |&row| row as usize + 1))
        }
    };
    let ld = residual(c);
    need(op, "dx", t * ld, dx.len())?;
    need(op, "h", last * ld, h.len())?;
    need(op, "dh", last * ld, dh.len())?;
    let mut params = RmsNormBackwardParams {
        dx: dx.address(0),
        h: h.address(0),
        w: w.address(0),
        rows: match rows {
            RowSelection::All(_) => 0,
            RowSelection::Some(rows) => state.lists.put(rows)?,
        },
        dh: dh.address(0),
        ld: ld as i64,
        row_count: int(op, t)?,
        channels: int(op, c)?,
        eps,
        ..RmsNormBackwardParams::default()
    };
    let Some(dw) = dw else { return shared.launch(&RMS_NORM_BACKWARD, &params) };
    need(op, "dw", c, dw.len())?;
    let sizes = [t * size_of::<f32>(), t.div_ceil(NORM_ROWS) * c * size_of::<f32>()];
    state.scratch.begin(&sizes)?;
    [(_, params.r), (_, params.partials)] = sizes.map(|bytes| state.scratch.take(bytes));
    params.dw = dw.address(0);
    shared.launch(&RMS_NORM_BACKWARD, &params)?;
    shared.launch(&RMS_NORM_DW, &params)?;
    shared.launch(&RMS_NORM_DW_FOLD, &params)
}

/// See [`crate::device::Backward::embed_backward`].
pub(super) fn embed_backward(
    shared: &Shared,
    state: &mut State,
    dh: &Buffer<f32>,
    tokens: &[u32],
    c: usize,
    dtable: &mut Buffer<f32>,
) -> Result<()> {
    let (op, ldh) = ("embed_backward", residual(c));
    need(op, "dh", tokens.len() * ldh, dh.len())?;
    let limit = dtable.len() / c.max(1);
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= limit) {
        return Err(Error::invalid(format!("embed_backward: expected tokens below {limit}, found {token}")));
    }
    int(op, tokens.len())?;
    let mut rows: Vec<u32> = (0..tokens.len() as u32).collect();
    rows.sort_by_key(|&row| tokens[row as usize]);
    let mut segments = Vec::<EmbedSegment>::new();
    for (i, &row) in (0..).zip(&rows) {
        let token = tokens[row as usize];
        match segments.last_mut() {
            Some(last) if last.token == token => last.end += 1,
            _ => segments.push(EmbedSegment { token, begin: i, end: i + 1 }),
        }
    }
    let params = EmbedBackwardParams {
        dh: dh.address(0),
        rows: state.lists.put(&rows)?,
        segments: state.lists.put(bytes_of(&segments))?,
        dtable: dtable.address(0),
        ldh: ldh as i64,
        segment_count: int(op, segments.len())?,
        channels: int(op, c)?,
    };
    shared.launch(&EMBED_BACKWARD, &params)
}

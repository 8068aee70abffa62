//! A LoRA adapter on a device: per block and projection, `A`, `B` and the scale.

use crate::device::{Device, LoraPart};
use crate::weights::{AdapterPart, HostMatrix, MatrixData, ModelConfig};
use crate::{Error, Result, reserve};
use std::ops::Range;
use std::sync::Arc;

/// The seven projections of a block that an adapter can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projection {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Projection {
    pub(super) const ALL: [Projection; 7] = [
        Projection::Q,
        Projection::K,
        Projection::V,
        Projection::O,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
    ];

    /// The name of the weight in a checkpoint, below `model.layers.N.`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Projection::Q => "self_attn.q_proj",
            Projection::K => "self_attn.k_proj",
            Projection::V => "self_attn.v_proj",
            Projection::O => "self_attn.o_proj",
            Projection::Gate => "mlp.gate_proj",
            Projection::Up => "mlp.up_proj",
            Projection::Down => "mlp.down_proj",
        }
    }

    /// `(N, K)`: outputs and inputs.
    pub(super) fn shape(self, c: &ModelConfig) -> (usize, usize) {
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        match self {
            Projection::Q => (q, c.hidden_size),
            Projection::K | Projection::V => (kv, c.hidden_size),
            Projection::O => (c.hidden_size, q),
            Projection::Gate | Projection::Up => (c.intermediate_size, c.hidden_size),
            Projection::Down => (c.hidden_size, c.intermediate_size),
        }
    }
}

struct Part<D: Device> {
    a: D::Matrix,
    b: D::Matrix,
    scale: f32,
}

/// A resident adapter.
pub(super) struct Adapter<D: Device> {
    /// `[layers][7]`.
    parts: Vec<[Option<Part<D>>; 7]>,
}

impl<D: Device> Adapter<D> {
    pub(super) fn new(device: &D, config: &ModelConfig, weights: &[AdapterPart]) -> Result<Self> {
        let mut parts: Vec<[Option<Part<D>>; 7]> = (0..config.layers).map(|_| Default::default()).collect();
        for part in weights {
            let projection = Projection::ALL
                .into_iter()
                .find(|p| p.name().ends_with(part.target))
                .ok_or_else(|| Error::unsupported(format!("an adapter of {}", part.target)))?;
            let (n, k) = projection.shape(config);
            let slot = parts
                .get_mut(part.layer)
                .map(|l| &mut l[projection as usize])
                .ok_or_else(|| Error::shape("adapter layers", config.layers, part.layer + 1))?;
            let host = |values: &[half::bf16], rows, cols| -> Result<HostMatrix> {
                let mut copy = reserve::room(values.len())?;
                copy.extend_from_slice(values);
                Ok(HostMatrix { data: MatrixData::Owned(copy), rows, cols })
            };
            *slot = Some(Part {
                a: device.matrix_bf16(host(&part.a, part.rank, k)?)?,
                b: device.matrix_bf16(host(&part.b, n, part.rank)?)?,
                scale: part.scale,
            });
        }
        Ok(Self { parts })
    }
}

/// Packed rows of a pass and the adapter they are computed with.
pub(super) type AdapterRows<D> = Vec<(Range<usize>, Arc<Adapter<D>>)>;

/// The low-rank updates of one projection in this pass.
pub(super) fn lora_parts<D: Device>(
    rows: &AdapterRows<D>,
    layer: usize,
    projection: Projection,
) -> Vec<LoraPart<'_, D>> {
    rows.iter()
        .filter_map(|(rows, adapter)| {
            let part = adapter.parts[layer][projection as usize].as_ref()?;
            Some(LoraPart { rows: rows.clone(), a: &part.a, b: &part.b, scale: part.scale })
        })
        .collect()
}

//! The transformer: weights on a device, and one forward pass over packed rows.
//!
//! Mistral 7B (Jiang et al., arXiv 2310.06825) and its sub-case Llama: pre-norm blocks of grouped-query attention with
//! rotary embedding and of SwiGLU. The residual stream is f32; rounding to bf16 happens at matrix inputs only.

use super::adapter::{Adapter, AdapterRows, Projection, lora_parts};
use super::session::Session;
use super::{AdapterId, LanguageModel, ModelSession};
use crate::device::{Attention, Device, Layout, Linear, RopeTable, RowSelection};
use crate::weights::{AdapterPart, Checkpoint, EMBEDDING, HostMatrix, MatrixData, ModelConfig};
use crate::{Error, Result, reserve};
use half::bf16;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One transformer block.
pub(super) struct Block<D: Device> {
    pub(super) input_norm: D::Buffer<f32>,
    pub(super) attention_norm: D::Buffer<f32>,
    /// In the order of [`Projection::ALL`].
    pub(super) projections: [D::Matrix; 7],
}

/// Activations of a pass, grown to the largest pass so far.
pub(super) struct Scratch<D: Device> {
    h: D::Buffer<f32>,
    x: D::Buffer<bf16>,
    q: D::Buffer<bf16>,
    o: D::Buffer<bf16>,
    a: D::Buffer<bf16>,
}

/// A Mistral on a device.
pub struct Mistral<D: Device> {
    pub(super) device: D,
    pub(super) config: ModelConfig,
    pub(super) embedding: D::Matrix,
    /// `None` where the head is the embedding table.
    pub(super) head: Option<D::Matrix>,
    pub(super) norm: D::Buffer<f32>,
    pub(super) blocks: Vec<Block<D>>,
    pub(super) rope: RopeTable<D>,
    adapters: RwLock<Adapters<D>>,
}

struct Adapters<D: Device> {
    next: u32,
    loaded: BTreeMap<AdapterId, Arc<Adapter<D>>>,
}

impl<D: Device> Mistral<D> {
    /// Makes the weights of a checkpoint resident, after checking that all of them are there. With `merge`, each touched
    /// weight becomes `bf16(W + scale·B·A)`, computed in f32.
    ///
    /// # Errors
    /// A missing, extra or misshaped tensor, an adapter of another shape, or not enough memory, by name.
    pub fn open(checkpoint: &Checkpoint, device: D, merge: &[AdapterPart]) -> Result<Arc<Self>> {
        Self::open_with(checkpoint, device, merge, &mut |_, _| {})
    }

    /// As [`Mistral::open`]; `progress` hears of bytes of weights done and in all.
    pub fn open_with(
        checkpoint: &Checkpoint,
        device: D,
        merge: &[AdapterPart],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Self>> {
        checkpoint.check_complete()?;
        let config = checkpoint.config().clone();
        let matrices = config.tensors().filter(|(name, shape)| shape.len() == 2 && name != EMBEDDING);
        let total = matrices.map(|(_, s)| 2 * (s[0] * s[1]) as u64).sum();
        let mut done = 0;
        let mut matrix = |host: HostMatrix| -> Result<D::Matrix> {
            let bytes = 2 * (host.rows * host.cols) as u64;
            let matrix = device.matrix(host)?;
            done += bytes;
            progress(done, total);
            Ok(matrix)
        };
        let c = config.hidden_size;
        let vector = |name: &str, len| -> Result<D::Buffer<f32>> {
            let values = checkpoint.vector(name, len)?;
            let mut buffer = device.buffer(len)?;
            device.write(&mut buffer, 0, &values)?;
            Ok(buffer)
        };
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            let mut projection = |p: Projection| -> Result<D::Matrix> {
                let (rows, cols) = p.shape(&config);
                let mut host = checkpoint.matrix(&name(p.name()), rows, cols)?;
                if let Some(part) = merge.iter().find(|m| m.layer == layer && p.name().ends_with(m.target)) {
                    host = merged(&host, part)?;
                }
                matrix(host)
            };
            let [q, k, v, o, gate, up, down] = Projection::ALL.map(&mut projection);
            blocks.push(Block {
                input_norm: vector(&name("input_layernorm"), c)?,
                attention_norm: vector(&name("post_attention_layernorm"), c)?,
                projections: [q?, k?, v?, o?, gate?, up?, down?],
            });
        }
        let table = |name: &str| checkpoint.matrix(name, config.vocab_size, c);
        Ok(Arc::new(Self {
            head: if config.tied_head { None } else { Some(matrix(table("lm_head.weight")?)?) },
            embedding: device.matrix_bf16(table("model.embed_tokens.weight")?)?,
            norm: vector("model.norm.weight", c)?,
            rope: rope_table(&device, &config)?,
            adapters: RwLock::new(Adapters { next: 0, loaded: BTreeMap::new() }),
            blocks,
            config,
            device,
        }))
    }

    /// The device it runs on.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Makes an adapter resident. Sequences started with its id use it until they end, also after it is unloaded.
    pub fn load_adapter(&self, weights: &[AdapterPart]) -> Result<AdapterId> {
        let adapter = Arc::new(Adapter::new(&self.device, &self.config, weights)?);
        let mut adapters = self.adapters.write().unwrap_or_else(PoisonError::into_inner);
        let id = AdapterId(adapters.next);
        adapters.next += 1;
        adapters.loaded.insert(id, adapter);
        Ok(id)
    }

    /// Forgets an adapter. Returns whether it was loaded.
    pub fn unload_adapter(&self, id: AdapterId) -> bool {
        self.adapters.write().unwrap_or_else(PoisonError::into_inner).loaded.remove(&id).is_some()
    }

    pub(super) fn adapter(&self, id: AdapterId) -> Result<Arc<Adapter<D>>> {
        let adapters = self.adapters.read().unwrap_or_else(PoisonError::into_inner);
        adapters
            .loaded
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::invalid(format!("no adapter with id {} is loaded", id.0)))
    }

    /// The head's matrix `[V, C]`.
    pub(super) fn head(&self) -> &D::Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    pub(super) fn scratch(&self) -> Result<Scratch<D>> {
        let d = &self.device;
        Ok(Scratch { h: d.buffer(0)?, x: d.buffer(0)?, q: d.buffer(0)?, o: d.buffer(0)?, a: d.buffer(0)? })
    }

    /// Runs all blocks over the rows of `layout`, writes their keys and values to `kv`, and leaves the final norm of rows
    /// `keep` (bf16) in `kept` from row `kept_row` on.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn forward(
        &self,
        s: &mut Scratch<D>,
        kv: &mut D::Kv,
        tokens: &[u32],
        layout: &Layout,
        adapters: &AdapterRows<D>,
        keep: &[u32],
        kept: &mut D::Buffer<bf16>,
        kept_row: usize,
    ) -> Result<()> {
        let (d, c, t) = (&self.device, &self.config, tokens.len());
        let q_dim = c.heads * c.head_dim;
        d.reserve(&mut s.h, t * c.hidden_size)?;
        d.reserve(&mut s.x, t * c.hidden_size)?;
        d.reserve(&mut s.q, t * q_dim)?;
        d.reserve(&mut s.o, t * q_dim)?;
        d.reserve(&mut s.a, t * c.intermediate_size)?;
        d.embed(&self.embedding, tokens, &mut s.h)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            let lora = Projection::ALL.map(|p| lora_parts(adapters, layer, p));
            let linear = |p: Projection| Linear { weight: &block.projections[p as usize], lora: &lora[p as usize] };
            let mut at = Attention { kv, layer, layout, heads: c.heads, window: c.sliding_window };
            d.rms_norm(&s.h, &block.input_norm, c.rms_norm_eps, RowSelection::All(t), &mut s.x, 0)?;
            let qkv = [linear(Projection::Q), linear(Projection::K), linear(Projection::V)];
            d.qkv(&s.x, qkv, &self.rope, &mut at, &mut s.q)?;
            d.attention(&s.q, &mut at, &mut s.o)?;
            d.linear_add(&s.o, linear(Projection::O), t, &mut s.h)?;
            d.rms_norm(&s.h, &block.attention_norm, c.rms_norm_eps, RowSelection::All(t), &mut s.x, 0)?;
            d.gate_up(&s.x, linear(Projection::Gate), linear(Projection::Up), t, &mut s.a)?;
            d.linear_add(&s.a, linear(Projection::Down), t, &mut s.h)?;
        }
        if keep.is_empty() {
            return Ok(());
        }
        d.rms_norm(&s.h, &self.norm, c.rms_norm_eps, RowSelection::Some(keep), kept, kept_row)
    }
}

impl<D: Device> LanguageModel for Mistral<D> {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn fingerprint(&self) -> String {
        self.device.fingerprint()
    }

    fn session(self: Arc<Self>) -> Result<Box<dyn ModelSession>> {
        Ok(Box::new(Session::new(self)?))
    }

    fn load_adapter(&self, weights: &[AdapterPart]) -> Result<AdapterId> {
        Mistral::load_adapter(self, weights)
    }

    fn unload_adapter(&self, id: AdapterId) -> bool {
        Mistral::unload_adapter(self, id)
    }
}

/// `bf16(W + scale·B·A)`, `W: [N, K]`.
fn merged(w: &HostMatrix, part: &AdapterPart) -> Result<HostMatrix> {
    let (mut row, mut out) = (vec![0f32; w.cols], reserve::room(w.rows * w.cols)?);
    for n in 0..w.rows {
        part.product_row(n, &mut row);
        out.extend(w.data[n * w.cols..][..w.cols].iter().zip(&row).map(|(w, y)| bf16::from_f32(w.to_f32() + y)));
    }
    Ok(HostMatrix { data: MatrixData::Owned(out), rows: w.rows, cols: w.cols })
}

/// `cos, sin (p · theta^(-2i/D))`, angles in f64.
fn rope_table<D: Device>(device: &D, config: &ModelConfig) -> Result<RopeTable<D>> {
    let half = config.head_dim / 2;
    let frequency: Vec<f64> =
        (0..half).map(|i| config.rope_theta.powf(-2.0 * i as f64 / config.head_dim as f64)).collect();
    let table = |f: fn(f64) -> f64| -> Result<D::Buffer<f32>> {
        let mut values: Vec<f32> = reserve::room(config.max_positions * half)?;
        (0..config.max_positions).for_each(|p| values.extend(frequency.iter().map(|w| f(p as f64 * w) as f32)));
        let mut buffer = device.buffer(values.len())?;
        device.write(&mut buffer, 0, &values)?;
        Ok(buffer)
    };
    Ok(RopeTable { cos: table(f64::cos)?, sin: table(f64::sin)?, positions: config.max_positions })
}

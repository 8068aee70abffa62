//! One transformer block, forward with what backward reads, and backward.

use super::tuned::Tuned;
use crate::Result;
use crate::device::{Backward, Output, PackedRows, RowSelection, Term};
use crate::model::adapter::Projection;
use crate::model::mistral::Mistral;
use crate::random::mix;
use crate::weights::ModelConfig;
use half::bf16;

/// What backward reads of a block's forward pass.
pub(super) struct Saved<D: Backward> {
    /// Queries, keys and values, rotated.
    qkv: [D::Buffer<bf16>; 3],
    o: D::Buffer<bf16>,
    lse: D::Buffer<f32>,
    /// The residual stream between attention and feed-forward.
    h_mid: D::Buffer<f32>,
    gate: D::Buffer<bf16>,
    up: D::Buffer<bf16>,
    /// `u` of each projection, `[T, R]`.
    u: [D::Buffer<bf16>; 7],
}

impl<D: Backward> Saved<D> {
    pub fn new(d: &D) -> Result<Self> {
        let empty = || d.buffer::<bf16>(0);
        Ok(Saved {
            qkv: [empty()?, empty()?, empty()?],
            o: empty()?,
            lse: d.buffer(0)?,
            h_mid: d.buffer(0)?,
            gate: empty()?,
            up: empty()?,
            u: [empty()?, empty()?, empty()?, empty()?, empty()?, empty()?, empty()?],
        })
    }
}

/// Memory of one operation to the next, grown to the largest batch so far.
pub(super) struct Work<D: Backward> {
    /// A matrix input: the widest of them.
    pub x: D::Buffer<bf16>,
    /// It with dropout.
    dropped: D::Buffer<bf16>,
    /// Gradient of a product's output.
    dy: D::Buffer<bf16>,
    /// Two of them, of gate and up, or of queries and keys; and of values.
    dys: [D::Buffer<bf16>; 3],
    du: [D::Buffer<bf16>; 3],
    /// A product in f32, of the widest input.
    wide: D::Buffer<f32>,
    dqkv: [D::Buffer<f32>; 3],
    /// Gradient of a norm's output, `[T, C]`.
    pub dx: D::Buffer<f32>,
    /// Gradient of the residual stream, `[T, C]`.
    pub dh: D::Buffer<f32>,
    /// `du A` where dropout masks it.
    masked: D::Buffer<f32>,
}

impl<D: Backward> Work<D> {
    pub fn new(d: &D) -> Result<Self> {
        let (half, full) = (|| d.buffer::<bf16>(0), || d.buffer::<f32>(0));
        Ok(Work {
            x: half()?,
            dropped: half()?,
            dy: half()?,
            dys: [half()?, half()?, half()?],
            du: [half()?, half()?, half()?],
            wide: full()?,
            dqkv: [full()?, full()?, full()?],
            dx: full()?,
            dh: full()?,
            masked: full()?,
        })
    }

    pub fn reserve(&mut self, d: &D, c: &ModelConfig, t: usize, rank: usize) -> Result<()> {
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let widest = c.hidden_size.max(c.intermediate_size).max(q);
        d.reserve(&mut self.x, t * widest)?;
        d.reserve(&mut self.dy, t * widest)?;
        d.reserve(&mut self.wide, t * widest)?;
        for (dy, n) in self.dys.iter_mut().zip([widest, widest, kv]) {
            d.reserve(dy, t * n)?;
        }
        for (dx, n) in self.dqkv.iter_mut().zip([q, kv, kv]) {
            d.reserve(dx, t * n)?;
        }
        self.du.iter_mut().try_for_each(|du| d.reserve(du, t * rank))?;
        d.reserve(&mut self.dx, t * c.hidden_size)?;
        d.reserve(&mut self.dh, t * c.hidden_size)
    }
}

/// A pass over a batch.
pub(super) struct Net<'a, D: Backward> {
    pub model: &'a Mistral<D>,
    pub tuned: &'a Tuned<D>,
    pub rows: PackedRows<'a>,
    pub positions: &'a [u32],
    /// Of dropout; `None` without.
    pub key: Option<u64>,
}

impl<D: Backward> Net<'_, D> {
    fn t(&self) -> usize {
        self.positions.len()
    }

    /// Probability and key of the dropout in one projection's update.
    fn dropout(&self, layer: usize, projection: Projection) -> Option<(f32, u64)> {
        let p = self.tuned.dropout();
        let key = mix(self.key?.wrapping_add((7 * layer + projection as usize) as u64));
        (p > 0.0).then_some((p, key))
    }

    /// `y = x Wᵀ` with its update, whose `u` is kept.
    fn linear(
        &self,
        layer: usize,
        projection: Projection,
        x: &D::Buffer<bf16>,
        dropped: &mut D::Buffer<bf16>,
        u: &mut D::Buffer<bf16>,
        y: Output<'_, D>,
    ) -> Result<()> {
        let (d, t) = (&self.model.device, self.t());
        let weight = &self.model.blocks[layer].projections[projection as usize];
        let Some(update) = self.tuned.update(layer, projection) else {
            return d.linear(&[Term { x, weight }], t, 1.0, y);
        };
        d.reserve(u, t * self.tuned.rank())?;
        let x_update = self.adapter_input(layer, projection, x, dropped)?;
        d.linear(&[Term { x: x_update, weight: &update.a }], t, self.tuned.scale(), Output::Round(u))?;
        d.linear(&[Term { x, weight }, Term { x: u, weight: &update.b }], t, 1.0, y)
    }

    /// `x` with dropout where there is any.
    fn adapter_input<'b>(
        &self,
        layer: usize,
        projection: Projection,
        x: &'b D::Buffer<bf16>,
        dropped: &'b mut D::Buffer<bf16>,
    ) -> Result<&'b D::Buffer<bf16>> {
        let Some((p, key)) = self.dropout(layer, projection) else { return Ok(x) };
        let shape = [self.t(), projection.shape(&self.model.config).1];
        self.model.device.reserve(dropped, shape[0] * shape[1])?;
        self.model.device.dropout(x, shape, p, key, dropped)?;
        Ok(dropped)
    }

    /// The gradients of projections of one `x`: those of the parameters are added, that of `x` is written to `dx`.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward(
        &self,
        layer: usize,
        dys: &[(Projection, &D::Buffer<bf16>)],
        x: &D::Buffer<bf16>,
        saved_u: &[D::Buffer<bf16>; 7],
        (dropped, masked): (&mut D::Buffer<bf16>, &mut D::Buffer<f32>),
        du: &mut [D::Buffer<bf16>; 3],
        dx: &mut D::Buffer<f32>,
        gradients: &mut [D::Buffer<f32>],
    ) -> Result<()> {
        let (d, t, rank) = (&self.model.device, self.t(), self.tuned.rank());
        for (&(projection, dy), du) in dys.iter().zip(du.iter_mut()) {
            let (n, k) = projection.shape(&self.model.config);
            if let Some(i) = self.tuned.projection(layer, projection) {
                d.linear_dw((dy, n), (x, k), t, &mut gradients[i])?;
            }
            if let Some(update) = self.tuned.update(layer, projection) {
                d.linear_dx(&[Term { x: dy, weight: &update.b }], t, self.tuned.scale(), Output::Round(du))?;
                let x = self.adapter_input(layer, projection, x, dropped)?;
                d.linear_dw((du, rank), (x, k), t, &mut gradients[update.index])?;
                let u = &saved_u[projection as usize];
                d.linear_dw((dy, n), (u, rank), t, &mut gradients[update.index + 1])?;
            }
        }
        let mut terms = Vec::new();
        for (&(projection, dy), du) in dys.iter().zip(du.iter()) {
            terms.push(Term { x: dy, weight: &self.model.blocks[layer].projections[projection as usize] });
            if let (Some(update), None) = (self.tuned.update(layer, projection), self.dropout(layer, projection)) {
                terms.push(Term { x: du, weight: &update.a });
            }
        }
        d.linear_dx(&terms, t, 1.0, Output::Store(dx))?;
        for (&(projection, _), du) in dys.iter().zip(du.iter()) {
            let dropout = self.dropout(layer, projection);
            if let (Some(update), Some((p, key))) = (self.tuned.update(layer, projection), dropout) {
                let shape = [t, projection.shape(&self.model.config).1];
                d.reserve(masked, shape[0] * shape[1])?;
                d.linear_dx(&[Term { x: du, weight: &update.a }], t, 1.0, Output::Store(masked))?;
                d.dropout_backward(masked, shape, p, key, dx)?;
            }
        }
        Ok(())
    }

    /// Everything up to gate and up.
    pub fn forward(&self, layer: usize, h: &D::Buffer<f32>, saved: &mut Saved<D>, work: &mut Work<D>) -> Result<()> {
        use Projection::{Gate, K, O, Q, Up, V};
        let (d, c, t) = (&self.model.device, &self.model.config, self.t());
        let (block, eps) = (&self.model.blocks[layer], c.rms_norm_eps);
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let Saved { qkv, o, lse, h_mid, gate, up, u } = saved;
        let Work { x, dropped, wide, .. } = work;
        for (buffer, n) in qkv.iter_mut().zip([q, kv, kv]) {
            d.reserve(buffer, t * n)?;
        }
        d.reserve(o, t * q)?;
        d.reserve(lse, t * c.heads)?;
        d.reserve(h_mid, t * c.hidden_size)?;
        d.reserve(gate, t * c.intermediate_size)?;
        d.reserve(up, t * c.intermediate_size)?;
        d.rms_norm(h, &block.input_norm, eps, RowSelection::All(t), x, 0)?;
        for (projection, n) in [(Q, q), (K, kv)] {
            let number = projection as usize;
            self.linear(layer, projection, x, dropped, &mut u[number], Output::Store(wide))?;
            d.rope(wide, n, self.positions, &self.model.rope, false, &mut qkv[number])?;
        }
        self.linear(layer, V, x, dropped, &mut u[V as usize], Output::Round(&mut qkv[2]))?;
        let [q, k, v] = qkv;
        d.packed_attention([q, k, v], &self.rows, o, lse)?;
        d.copy(h, [t, c.hidden_size], h_mid)?;
        self.linear(layer, O, o, dropped, &mut u[O as usize], Output::Add(h_mid))?;
        d.rms_norm(h_mid, &block.attention_norm, eps, RowSelection::All(t), x, 0)?;
        self.linear(layer, Gate, x, dropped, &mut u[Gate as usize], Output::Round(gate))?;
        self.linear(layer, Up, x, dropped, &mut u[Up as usize], Output::Round(up))
    }

    /// The rest of the block, to its output `h`.
    pub fn finish(&self, layer: usize, saved: &mut Saved<D>, work: &mut Work<D>, h: &mut D::Buffer<f32>) -> Result<()> {
        let (d, c, t) = (&self.model.device, &self.model.config, self.t());
        d.swiglu(&saved.gate, &saved.up, [t, c.intermediate_size], &mut work.x)?;
        d.copy(&saved.h_mid, [t, c.hidden_size], h)?;
        let u = &mut saved.u[Projection::Down as usize];
        self.linear(layer, Projection::Down, &work.x, &mut work.dropped, u, Output::Add(h))
    }

    /// From the gradient of the block's output in `work.dh` to that of its input, and the parameters'. The `u` of the down
    /// projection is there already for a block that was finished; one computed again needs it anew.
    pub fn backward(
        &self,
        layer: usize,
        h: &D::Buffer<f32>,
        saved: &mut Saved<D>,
        work: &mut Work<D>,
        gradients: &mut [D::Buffer<f32>],
    ) -> Result<()> {
        use Projection::{Down, Gate, K, O, Q, Up, V};
        let (d, c, t) = (&self.model.device, &self.model.config, self.t());
        let (block, eps, all) = (&self.model.blocks[layer], c.rms_norm_eps, RowSelection::All(t));
        let (q_dim, kv_dim, f) = (c.heads * c.head_dim, c.kv_heads * c.head_dim, c.intermediate_size);
        let Saved { qkv, o, lse, h_mid, gate, up, u } = saved;
        let Work { x, dropped, dy, dys: [first, second, third], du, wide, dqkv, dx, dh, masked } = work;

        d.swiglu(gate, up, [t, f], x)?;
        if let Some(update) = self.tuned.update(layer, Down) {
            let x = self.adapter_input(layer, Down, x, dropped)?;
            let u = &mut u[Down as usize];
            d.reserve(u, t * self.tuned.rank())?;
            d.linear(&[Term { x, weight: &update.a }], t, self.tuned.scale(), Output::Round(u))?;
        }
        d.round(dh, [t, c.hidden_size], dy)?;
        self.linear_backward(layer, &[(Down, dy)], x, u, (dropped, masked), du, wide, gradients)?;
        d.round(wide, [t, f], dy)?;
        d.swiglu_backward(dy, gate, up, [t, f], [first, second])?;
        d.rms_norm(h_mid, &block.attention_norm, eps, all, x, 0)?;
        let dys = [(Gate, &*first), (Up, &*second)];
        self.linear_backward(layer, &dys, x, u, (dropped, masked), du, dx, gradients)?;
        let dw = self.tuned.attention_norm(layer).map(|i| &mut gradients[i]);
        d.rms_norm_backward(dx, h_mid, &block.attention_norm, eps, all, dh, dw)?;

        d.round(dh, [t, c.hidden_size], dy)?;
        self.linear_backward(layer, &[(O, dy)], o, u, (dropped, masked), du, wide, gradients)?;
        d.round(wide, [t, q_dim], dy)?;
        let [dq, dk, dv] = dqkv;
        d.packed_attention_backward(qkv.each_ref(), (o, lse), dy, &self.rows, [dq, dk, dv])?;
        d.rope(dq, q_dim, self.positions, &self.model.rope, true, first)?;
        d.rope(dk, kv_dim, self.positions, &self.model.rope, true, second)?;
        d.round(dv, [t, kv_dim], third)?;
        d.rms_norm(h, &block.input_norm, eps, all, x, 0)?;
        let dys = [(Q, &*first), (K, &*second), (V, &*third)];
        self.linear_backward(layer, &dys, x, u, (dropped, masked), du, dx, gradients)?;
        let dw = self.tuned.input_norm(layer).map(|i| &mut gradients[i]);
        d.rms_norm_backward(dx, h, &block.input_norm, eps, all, dh, dw)
    }
}

//! Training: the loss of packed examples and its gradient with respect to every tuned parameter, for every device.
//!
//! Forward keeps each block's input, and of as many blocks as asked for what their backward reads; the others are computed
//! again, to the same bits. The low-rank branch of a projection is two more terms of its products:
//! `u = s·drop(x)Aᵀ`, `y = [x | u]·[W | B]ᵀ`, `du = s·dy B`, `dx = [dy | du]·[W ; A]`, `dA = duᵀ drop(x)`, `dB = dyᵀ u`.

mod block;
mod memory;
mod optimise;
mod tuned;

pub use memory::{Spacing, TrainingMemory};
pub use optimise::{StateValues, StepOptions};
pub use tuned::{LoraOptions, Tuning};

use super::Mistral;
use crate::device::{Backward, LossGradient, Moments, PackedRows, RowSelection};
use crate::weights::ModelConfig;
use crate::{Error, Result};
use block::{Net, Saved, Work};
use std::ops::Range;
use std::sync::Arc;
use tuned::{Parameter, Tuned};

/// Examples packed one after the other; positions restart in each, and none sees another.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[T]`.
    pub tokens: &'a [u32],
    /// Rows of each example, covering all in order.
    pub examples: &'a [Range<usize>],
    /// What each row should predict; `None` counts for nothing.
    pub labels: &'a [Option<u32>],
}

/// A model, what is tuned of it, gradients and the optimiser's state.
pub struct Learner<D: Backward> {
    model: Arc<Mistral<D>>,
    tuned: Tuned<D>,
    parameters: Vec<Parameter>,
    gradients: Vec<D::Buffer<f32>>,
    moments: Vec<Moments<D>>,
    /// Blocks, the last ones, whose activations are kept.
    keep: usize,
    /// Input of each block and output of the last, `[T, C]`.
    h: Vec<D::Buffer<f32>>,
    /// One that the blocks computed again share, if there are any, then one per kept block.
    saved: Vec<Saved<D>>,
    work: Work<D>,
}

impl<D: Backward> Learner<D> {
    /// Prepares `model` for tuning; activations of all blocks are kept until [`Learner::keep_blocks`] says otherwise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that make no sense, and where full tuning is asked for of a model that others use.
    pub fn new(mut model: Arc<Mistral<D>>, tuning: &Tuning) -> Result<Self> {
        if matches!(tuning, Tuning::Full { .. }) && Arc::get_mut(&mut model).is_none() {
            return Err(Error::invalid("full tuning: expected a model that nobody else uses"));
        }
        let (tuned, parameters) = Tuned::new(&model, tuning)?;
        let device = &model.device;
        let gradient = |parameter: &Parameter| device.buffer(parameter.len());
        let gradients = parameters.iter().map(gradient).collect::<Result<_>>()?;
        let moments = tuned.moments(&model, &parameters, tuning)?;
        let h = (0..=model.config.layers).map(|_| device.buffer(0)).collect::<Result<_>>()?;
        let work = Work::new(device)?;
        let keep = model.config.layers;
        Ok(Learner { tuned, parameters, gradients, moments, keep, h, saved: Vec::new(), work, model })
    }

    /// The model, for answers with the weights as they are now; full tuning goes on once nobody else holds it.
    pub fn model(&self) -> &Arc<Mistral<D>> {
        &self.model
    }

    /// Shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Numerics fingerprint of the device.
    pub fn fingerprint(&self) -> String {
        self.model.device.fingerprint()
    }

    /// Name and number of elements of each tuned parameter.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, usize)> {
        self.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.len()))
    }

    /// Keeps the activations of the last `blocks` blocks; the others are computed again. No bit depends on it.
    pub fn keep_blocks(&mut self, blocks: usize) {
        self.keep = blocks.min(self.model.config.layers);
        self.saved.clear();
    }

    /// The loss of each labelled row, in order.
    pub fn losses(&mut self, batch: &Batch<'_>) -> Result<Vec<f64>> {
        let model = self.model.clone();
        model.device.pass(|| self.run(batch, None))
    }

    /// Adds the gradient of `weight · Σ losses` to the gradients, and returns the losses. `key` decides dropout.
    pub fn backward(&mut self, batch: &Batch<'_>, weight: f32, key: u64) -> Result<Vec<f64>> {
        let model = self.model.clone();
        model.device.pass(|| self.run(batch, Some((weight, key))))
    }

    /// Which of `saved` holds a block's activations.
    fn slot(&self, layer: usize) -> usize {
        let again = self.model.config.layers - self.keep;
        if layer < again { 0 } else { layer - again + usize::from(again > 0) }
    }

    fn run(&mut self, batch: &Batch<'_>, gradient: Option<(f32, u64)>) -> Result<Vec<f64>> {
        check(batch, &self.model.config)?;
        let (model, t) = (self.model.clone(), batch.tokens.len());
        let (d, c) = (&model.device, &model.config);
        // Without a gradient nothing is kept: one block's memory and two residual streams serve all.
        let training = gradient.is_some();
        let slots: Vec<usize> = (0..c.layers).map(|layer| if training { self.slot(layer) } else { 0 }).collect();
        let streams = if training { c.layers + 1 } else { 2 };
        while self.saved.len() <= slots.iter().copied().max().unwrap_or(0) {
            self.saved.push(Saved::new(d)?);
        }
        for h in &mut self.h[..streams] {
            d.reserve(h, t * c.hidden_size)?;
        }
        self.work.reserve(d, c, t, self.tuned.rank())?;
        let positions: Vec<u32> = batch.examples.iter().flat_map(|rows| 0..rows.len() as u32).collect();
        let (heads, kv_heads, head_dim) = (c.heads, c.kv_heads, c.head_dim);
        let rows = PackedRows { examples: batch.examples, heads, kv_heads, head_dim, window: c.sliding_window };
        let key = gradient.map(|(_, key)| key);
        let net = Net { model: &model, tuned: &self.tuned, rows, positions: &positions, key };

        d.embed(&model.embedding, batch.tokens, &mut self.h[0])?;
        for (layer, slot) in slots.iter().enumerate() {
            let saved = &mut self.saved[*slot];
            net.forward(layer, &self.h[layer % streams], saved, &mut self.work)?;
            net.finish(layer, saved, &mut self.work, &mut self.h[(layer + 1) % streams])?;
        }
        let last = &self.h[c.layers % streams];
        let labelled = batch.labels.iter().enumerate().filter_map(|(row, label)| Some((row as u32, (*label)?)));
        let (rows, targets): (Vec<u32>, Vec<u32>) = labelled.unzip();
        let (rows, work) = (RowSelection::Some(&rows), &mut self.work);
        d.rms_norm(last, &model.norm, c.rms_norm_eps, rows, &mut work.x, 0)?;
        let Some((weight, _)) = gradient else { return d.cross_entropy(&work.x, model.head(), &targets, None) };

        let dhead = self.tuned.head().map(|i| &mut self.gradients[i]);
        let step = LossGradient { weight, dx: &mut work.dx, dhead };
        let losses = d.cross_entropy(&work.x, model.head(), &targets, Some(step))?;
        d.clear(&mut work.dh, [t, c.hidden_size])?;
        let dw = self.tuned.last_norm().map(|i| &mut self.gradients[i]);
        d.rms_norm_backward(&work.dx, last, &model.norm, c.rms_norm_eps, rows, &mut work.dh, dw)?;
        for (layer, slot) in slots.iter().enumerate().rev() {
            let saved = &mut self.saved[*slot];
            if layer < c.layers - self.keep {
                net.forward(layer, &self.h[layer], saved, &mut self.work)?;
            }
            net.backward(layer, &self.h[layer], saved, &mut self.work, &mut self.gradients)?;
        }
        if let Some(i) = self.tuned.embedding() {
            d.embed_backward(&self.work.dh, batch.tokens, c.hidden_size, &mut self.gradients[i])?;
        }
        Ok(losses)
    }
}

fn check(batch: &Batch<'_>, config: &ModelConfig) -> Result<()> {
    let t = batch.tokens.len();
    if batch.labels.len() != t || batch.examples.last().map_or(0, |rows| rows.end) != t || t == 0 {
        let found = (batch.labels.len(), batch.examples.last().cloned());
        return Err(Error::shape("batch, labels and examples", (t, 0..t), found));
    }
    if let Some(rows) = batch.examples.iter().find(|rows| rows.len() > config.max_positions) {
        return Err(Error::TooLong { what: "an example".into(), need: rows.len(), limit: config.max_positions });
    }
    Ok(())
}

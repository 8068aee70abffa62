//! What is tuned: everything, or a low-rank update of chosen projections.

use crate::device::{Backward, HostMatrix, Moments};
use crate::model::adapter::Projection;
use crate::model::mistral::Mistral;
use crate::random::{mix, uniform};
use crate::weights::{AdapterPart, MatrixData, TARGETS};
use crate::{Error, Result};
use half::bf16;

/// What is tuned, and how its state is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Tuning {
    /// Low-rank updates of chosen projections; the model itself stays as it is.
    Lora(LoraOptions),
    /// Every weight.
    Full {
        /// Mean, mean square and weights in bf16 with stochastic rounding, no copy of the weights in f32.
        half_state: bool,
    },
}

/// A LoRA adapter (Hu et al., arXiv 2106.09685), with PEFT's meaning of each option.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOptions {
    /// `R`.
    pub rank: usize,
    /// The update counts `alpha / R`.
    pub alpha: f64,
    /// Probability with which an element of the adapter's input is dropped.
    pub dropout: f32,
    /// Of [`TARGETS`].
    pub targets: Vec<String>,
    /// The update counts `alpha / sqrt(R)` instead.
    pub rank_stabilised: bool,
    /// Seed of `A`; `B` begins as zero.
    pub seed: u64,
}

/// One tuned tensor.
pub(super) struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub place: Place,
}

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    A(usize, usize),
    B(usize, usize),
    Embedding,
    InputNorm(usize),
    AttentionNorm(usize),
    Projection(usize, usize),
    Norm,
    Head,
}

impl Parameter {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The low-rank update of one projection; its parameters are number `index` and `index + 1`.
pub(super) struct Update<D: Backward> {
    pub a: D::Matrix,
    pub b: D::Matrix,
    pub index: usize,
}

/// What is tuned, on a device.
pub(super) enum Tuned<D: Backward> {
    Lora {
        /// `[layers][7]`.
        updates: Vec<[Option<Update<D>>; 7]>,
        rank: usize,
        scale: f32,
        dropout: f32,
    },
    Full {
        layers: usize,
        tied: bool,
    },
}

/// Parameters per block in full tuning: in the order of [`crate::weights::ModelConfig::tensors`].
const PER_BLOCK: usize = 9;

impl<D: Backward> Tuned<D> {
    pub fn new(model: &Mistral<D>, tuning: &Tuning) -> Result<(Self, Vec<Parameter>)> {
        let config = &model.config;
        match tuning {
            Tuning::Lora(options) => lora(model, options),
            Tuning::Full { .. } => {
                let places = (0..config.layers).flat_map(|l| {
                    [Place::InputNorm(l)]
                        .into_iter()
                        .chain((0..4).map(move |p| Place::Projection(l, p)))
                        .chain([Place::AttentionNorm(l)])
                        .chain((4..7).map(move |p| Place::Projection(l, p)))
                });
                let places = [Place::Embedding].into_iter().chain(places).chain([Place::Norm, Place::Head]);
                let parameter = |((name, shape), place)| Parameter { name, shape, place };
                let parameters = config.tensors().zip(places).map(parameter).collect();
                Ok((Tuned::Full { layers: config.layers, tied: config.tied_head }, parameters))
            }
        }
    }

    pub fn rank(&self) -> usize {
        if let Tuned::Lora { rank, .. } = self { *rank } else { 0 }
    }

    pub fn scale(&self) -> f32 {
        if let Tuned::Lora { scale, .. } = self { *scale } else { 0.0 }
    }

    pub fn dropout(&self) -> f32 {
        if let Tuned::Lora { dropout, .. } = self { *dropout } else { 0.0 }
    }

    pub fn update(&self, layer: usize, projection: Projection) -> Option<&Update<D>> {
        match self {
            Tuned::Lora { updates, .. } => updates[layer][projection as usize].as_ref(),
            Tuned::Full { .. } => None,
        }
    }

    /// Number of the embedding's parameter, where it is tuned; likewise the next.
    pub fn embedding(&self) -> Option<usize> {
        matches!(self, Tuned::Full { .. }).then_some(0)
    }

    pub fn input_norm(&self, layer: usize) -> Option<usize> {
        matches!(self, Tuned::Full { .. }).then_some(1 + PER_BLOCK * layer)
    }

    pub fn attention_norm(&self, layer: usize) -> Option<usize> {
        self.input_norm(layer).map(|i| i + 5)
    }

    pub fn projection(&self, layer: usize, projection: Projection) -> Option<usize> {
        let after_attention = usize::from(projection as usize >= 4);
        self.input_norm(layer).map(|i| i + 1 + projection as usize + after_attention)
    }

    pub fn last_norm(&self) -> Option<usize> {
        if let Tuned::Full { layers, .. } = self { Some(1 + PER_BLOCK * layers) } else { None }
    }

    pub fn head(&self) -> Option<usize> {
        match self {
            Tuned::Full { tied: true, .. } => Some(0),
            Tuned::Full { layers, .. } => Some(2 + PER_BLOCK * layers),
            Tuned::Lora { .. } => None,
        }
    }

    /// State of a first step.
    pub fn moments(&self, model: &Mistral<D>, parameters: &[Parameter], tuning: &Tuning) -> Result<Vec<Moments<D>>> {
        let d = &model.device;
        let half_state = matches!(tuning, Tuning::Full { half_state: true });
        let of = |parameter: &Parameter| {
            let (len, vector) = (parameter.len(), parameter.shape.len() == 1);
            if half_state && !vector {
                return Ok(Moments::Half { m: d.buffer(len)?, v: d.buffer(len)? });
            }
            // A vector is its own copy in f32.
            let mut master = d.buffer(if vector { 0 } else { len })?;
            if !vector {
                let values = d.read_matrix(self.matrix(model, parameter.place)?)?;
                d.write(&mut master, 0, &values.iter().map(|x| x.to_f32()).collect::<Vec<_>>())?;
            }
            Ok(Moments::Full { m: d.buffer(len)?, v: d.buffer(len)?, master })
        };
        parameters.iter().map(of).collect()
    }

    /// The matrix at `place`.
    pub fn matrix<'a>(&'a self, model: &'a Mistral<D>, place: Place) -> Result<&'a D::Matrix> {
        let update = |layer, projection: usize| self.update(layer, Projection::ALL[projection]);
        match place {
            Place::A(layer, projection) => update(layer, projection).map(|update| &update.a),
            Place::B(layer, projection) => update(layer, projection).map(|update| &update.b),
            Place::Embedding => Some(&model.embedding),
            Place::Projection(layer, projection) => Some(&model.blocks[layer].projections[projection]),
            Place::Head => Some(model.head()),
            Place::InputNorm(_) | Place::AttentionNorm(_) | Place::Norm => None,
        }
        .ok_or_else(|| Error::internal(format!("no tuned matrix at {place:?}")))
    }

    /// The adapter as it is now.
    pub fn adapter(&self, device: &D) -> Result<Vec<AdapterPart>> {
        let Tuned::Lora { updates, rank, scale, .. } = self else { return Ok(Vec::new()) };
        let mut parts = Vec::new();
        for (layer, projection) in (0..updates.len()).flat_map(|l| (0..7).map(move |p| (l, p))) {
            if let Some(Update { a, b, .. }) = &updates[layer][projection] {
                let (a, b) = (device.read_matrix(a)?, device.read_matrix(b)?);
                parts.push(AdapterPart { layer, target: TARGETS[projection], rank: *rank, scale: *scale, a, b });
            }
        }
        Ok(parts)
    }
}

fn lora<D: Backward>(model: &Mistral<D>, options: &LoraOptions) -> Result<(Tuned<D>, Vec<Parameter>)> {
    let LoraOptions { rank, alpha, dropout, ref targets, rank_stabilised, seed } = *options;
    if let Some(target) = targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
        return Err(Error::invalid(format!("LoRA targets: expected some of {}, found {target}", TARGETS.join(", "))));
    }
    let sane = rank >= 1 && rank <= model.config.hidden_size && alpha.is_finite() && (0.0..1.0).contains(&dropout);
    if !sane || targets.is_empty() {
        return Err(Error::invalid(format!(
            "LoRA: expected a rank from 1 to {}, a finite alpha, a dropout from 0 to below 1 and a target, \
             found {rank}, {alpha}, {dropout} and {} targets",
            model.config.hidden_size,
            targets.len()
        )));
    }
    let (mut parameters, mut updates) = (Vec::new(), Vec::new());
    for layer in 0..model.config.layers {
        let mut block: [Option<Update<D>>; 7] = Default::default();
        for projection in Projection::ALL {
            let number = projection as usize;
            if !targets.iter().any(|target| target == TARGETS[number]) {
                continue;
            }
            let (n, k) = projection.shape(&model.config);
            // PEFT's: uniform within ±1/sqrt(K).
            let (key, bound) = (mix(mix(seed).wrapping_add((7 * layer + number) as u64)), 1.0 / (k as f64).sqrt());
            let draw = |i| bf16::from_f64(bound * (uniform(key, i) as f64 / (1u64 << 31) as f64 - 1.0));
            let a = HostMatrix { data: MatrixData::Owned((0..rank * k).map(draw).collect()), rows: rank, cols: k };
            let b = HostMatrix { data: MatrixData::Owned(vec![bf16::ZERO; n * rank]), rows: n, cols: rank };
            let (a, b) = (model.device.matrix(a)?, model.device.matrix(b)?);
            block[number] = Some(Update { a, b, index: parameters.len() });
            let name = |half| format!("base_model.model.model.layers.{layer}.{}.{half}.weight", projection.name());
            let place = (Place::A(layer, number), Place::B(layer, number));
            parameters.push(Parameter { name: name("lora_A"), shape: vec![rank, k], place: place.0 });
            parameters.push(Parameter { name: name("lora_B"), shape: vec![n, rank], place: place.1 });
        }
        updates.push(block);
    }
    let divisor = if rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
    Ok((Tuned::Lora { updates, rank, scale: (alpha / divisor) as f32, dropout }, parameters))
}

//! Merging fine-tuned models and LoRA adapters into a model, tensor by tensor, and adapters into one adapter.
//!
//! `W = W₀ + Σᵢ wᵢ · mask(Δᵢ) / (1 - p)`, with `Δ = W' - W₀` of a model and `Δ = s·B A` of an adapter. The mask is that of DARE
//! (Yu et al., arXiv 2311.03099): each element is dropped with probability `p`. All in f32, rounded once.

use super::write::{copy_companions, write_json};
use super::{AdapterPart, Checkpoint, ModelConfig, ModelTensor, PeftAdapter, Progress, TARGETS};
use super::{write_adapter, write_model};
use crate::random::{mix, uniform};
use crate::{Error, Result, reserve};
use half::bf16;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Values computed at a time: what memory is needed for beside the tensor that is written.
const BLOCK: usize = 1 << 20;

/// What is added to a base model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeSource {
    /// A fine-tuned model of the base's shape, folder or GGUF. The base itself counts as a model that changed nothing.
    Model(PathBuf),
    /// A PEFT LoRA folder.
    Adapter(PathBuf),
}

/// How sources are merged.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeOptions {
    /// Each source and its weight `wᵢ`; -1 takes a merged adapter out again, up to rounding.
    pub sources: Vec<(MergeSource, f64)>,
    /// `p`: the share of each difference that is dropped.
    pub drop: f64,
    /// Whether what stays is divided by `1 - p`.
    pub rescale: bool,
    /// Decides what is dropped.
    pub seed: u64,
}

impl MergeOptions {
    fn check(&self) -> Result<()> {
        if self.sources.is_empty() || self.sources.iter().any(|(_, weight)| !weight.is_finite()) {
            return Err(Error::invalid("merge: expected at least one model or adapter, each with a finite weight"));
        }
        if !(0.0..1.0).contains(&self.drop) {
            return Err(Error::invalid(format!(
                "merge: expected a share to drop from 0 to below 1, found {}",
                self.drop
            )));
        }
        Ok(())
    }

    fn mask(&self, source: usize, tensor: usize) -> Mask {
        let key = mix(mix(mix(self.seed).wrapping_add(source as u64)).wrapping_add(tensor as u64));
        Mask { key, drop: self.drop as f32, keep: if self.rescale { 1.0 / (1.0 - self.drop) } else { 1.0 } }
    }

    /// What the result was made of.
    fn recipe(&self, base: &str, ids: &[String]) -> Value {
        let source = |((source, weight), id): (&(MergeSource, f64), &String)| {
            let (kind, path) = match source {
                MergeSource::Model(path) => ("model", path),
                MergeSource::Adapter(path) => ("adapter", path),
            };
            json!({kind: path.file_name().unwrap_or_default().to_string_lossy(), "id": id, "weight": weight})
        };
        let sources: Vec<Value> = self.sources.iter().zip(ids).map(source).collect();
        json!({"base": base, "sources": sources, "drop": self.drop, "rescale": self.rescale, "seed": self.seed})
    }
}

/// Which elements of one tensor's difference stay, and what they count.
struct Mask {
    key: u64,
    drop: f32,
    keep: f64,
}

impl Mask {
    /// `y += weight · mask(x)` for elements from `first` on.
    fn add(&self, x: &[f32], weight: f64, first: usize, y: &mut [f32]) {
        let factor = (weight * self.keep) as f32;
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y += if self.drops(first + i) { 0.0 } else { factor * x };
        }
    }

    fn drops(&self, index: usize) -> bool {
        // 24 bits are exact in f32.
        self.drop > 0.0 && (uniform(self.key, index) >> 8) as f32 * (1.0 / (1 << 24) as f32) < self.drop
    }
}

/// An opened source.
enum Opened {
    Model(Checkpoint),
    Adapter(PeftAdapter),
}

impl Opened {
    fn new(source: &(MergeSource, f64), base: &Checkpoint) -> Result<Self> {
        match &source.0 {
            MergeSource::Model(path) => {
                let model = Checkpoint::open(path)?;
                same_model(path, model.config(), base.config())?;
                model.check_complete()?;
                Ok(Opened::Model(model))
            }
            MergeSource::Adapter(path) => {
                let named = |e| match e {
                    Error::Shape { op, want, got } => {
                        Error::Shape { op: format!("{}: {op}", path.display()), want, got }
                    }
                    other => other,
                };
                // What is taken out of a model was made for the one before it was put in.
                let adapter = if source.1 < 0.0 { PeftAdapter::open(path, base.config()) } else { base.adapter(path) };
                Ok(Opened::Adapter(adapter.map_err(named)?))
            }
        }
    }

    fn id(&self) -> Result<String> {
        match self {
            Opened::Model(model) => id_of(model),
            Opened::Adapter(adapter) => Ok(adapter.id().to_string()),
        }
    }
}

/// The identity of a model. It looks at every tensor, and would keep a part of each in memory.
fn id_of(model: &Checkpoint) -> Result<String> {
    let id = model.id();
    model.release();
    id
}

/// What decides the meaning of each weight must agree.
fn same_model(path: &Path, found: &ModelConfig, base: &ModelConfig) -> Result<()> {
    if let Some(((name, want), (_, got))) = base.tensors().zip(found.tensors()).find(|(a, b)| a != b) {
        return Err(Error::shape(format!("{}: tensor {name}, against the base model", path.display()), want, got));
    }
    for (what, same) in [
        ("number of layers", found.layers == base.layers),
        ("head", found.tied_head == base.tied_head),
        ("heads", (found.heads, found.kv_heads, found.head_dim) == (base.heads, base.kv_heads, base.head_dim)),
        ("rope_theta", found.rope_theta == base.rope_theta),
        ("rms_norm_eps", found.rms_norm_eps == base.rms_norm_eps),
    ] {
        if !same {
            return Err(Error::invalid(format!("{}: expected the base model's {what}, found another", path.display())));
        }
    }
    Ok(())
}

/// Writes `base` with all sources merged into it as the new model folder `folder`, with the base's tokenizer where the base is
/// a folder, and `merge.json`, which says what it was made of. Needs memory for one tensor and the adapters.
///
/// # Errors
/// [`Error::Invalid`] where `folder` exists or options make no sense; [`Error::Shape`] and [`Error::Format`] naming the tensor of
/// a source that is made for another model; [`Error::Io`]; [`Error::Cancelled`]. Nothing is left behind.
pub fn merge_models(base: &Path, options: &MergeOptions, folder: &Path, progress: Progress<'_>) -> Result<()> {
    options.check()?;
    let model = Checkpoint::open(base)?;
    model.check_complete()?;
    let sources: Vec<Opened> =
        options.sources.iter().map(|source| Opened::new(source, &model)).collect::<Result<_>>()?;
    let ids: Vec<String> = sources.iter().map(Opened::id).collect::<Result<_>>()?;
    let recipe = options.recipe(&id_of(&model)?, &ids);
    let numbers: BTreeMap<String, (usize, Vec<usize>)> =
        model.config().tensors().enumerate().map(|(i, (name, shape))| (name, (i, shape))).collect();
    let mut tensor = |name: &str| {
        let (number, shape) = &numbers[name];
        merged_tensor(&model, &sources, options, (name, *number), shape)
    };
    write_model(model.config(), folder, progress, &mut tensor, &mut |folder| {
        copy_companions(base, folder)?;
        write_json(&folder.join("merge.json"), &recipe)
    })
}

fn merged_tensor(
    base: &Checkpoint,
    sources: &[Opened],
    options: &MergeOptions,
    (name, number): (&str, usize),
    shape: &[usize],
) -> Result<ModelTensor> {
    let (rows, cols) = if let [rows, cols] = *shape { (rows, cols) } else { (1, shape[0]) };
    let mut out = reserve::filled(bf16::ZERO, if shape.len() == 2 { rows * cols } else { 0 })?;
    let step = (BLOCK / cols).max(1);
    let room = || reserve::filled(0f32, step.min(rows) * cols);
    let (mut w, mut x, mut sum) = (room()?, room()?, room()?);
    for first in (0..rows).step_by(step) {
        let at = first..rows.min(first + step);
        let len = at.len() * cols;
        base.rows(name, shape, at.clone(), &mut w[..len])?;
        sum[..len].fill(0.0);
        for (i, (source, (_, weight))) in sources.iter().zip(&options.sources).enumerate() {
            let mask = options.mask(i, number);
            match source {
                Opened::Model(model) => {
                    model.rows(name, shape, at.clone(), &mut x[..len])?;
                    x.iter_mut().zip(&w).for_each(|(x, w)| *x -= w);
                }
                Opened::Adapter(adapter) => match adapter.parts().iter().find(|part| part.weight_name() == name) {
                    Some(part) => {
                        let each = x[..len].par_chunks_mut(cols).enumerate();
                        each.for_each(|(row, x)| part.product_row(first + row, x));
                    }
                    None => continue,
                },
            }
            let each = sum[..len].par_chunks_mut(cols).zip(x.par_chunks(cols)).enumerate();
            each.for_each(|(row, (sum, x))| mask.add(x, *weight, (first + row) * cols, sum));
        }
        if shape.len() == 1 {
            return Ok(ModelTensor::Vector(w.iter().zip(&sum).map(|(w, x)| w + x).collect()));
        }
        let values = w[..len].par_chunks(cols).zip(sum.par_chunks(cols));
        out[first * cols..][..len].par_chunks_mut(cols).zip(values).for_each(|(out, (w, x))| {
            out.iter_mut().zip(w.iter().zip(x)).for_each(|(out, (w, x))| *out = bf16::from_f32(w + x));
        });
    }
    Ok(ModelTensor::Matrix(out))
}

/// Writes adapters for the model `base` as one, the new PEFT folder `folder`: their ranks lie side by side, so that the result is
/// the weighted sum itself. Weights are exact where all adapters have one scale and one weight, else rounded into `B`.
/// Dropping masks `A` and `B` each on its own, as no mask of their product has a low rank.
///
/// # Errors
/// As [`merge_models`], and [`Error::Invalid`] for sources that are no adapters.
pub fn merge_adapters(base: &Path, options: &MergeOptions, folder: &Path) -> Result<()> {
    options.check()?;
    let model = Checkpoint::open(base)?;
    let config = model.config();
    let mut adapters = Vec::new();
    for (i, source) in options.sources.iter().enumerate() {
        match Opened::new(source, &model)? {
            Opened::Adapter(adapter) => adapters.push((i, adapter, source.1)),
            Opened::Model(_) => return Err(Error::invalid("merge: expected adapters only, found a model")),
        }
    }
    let unit = adapters.iter().find_map(|(_, adapter, weight)| Some(weight * adapter.parts().first()?.scale as f64));
    let unit = unit.filter(|unit| *unit != 0.0).unwrap_or(1.0);
    let rank: usize = adapters.iter().map(|(_, adapter, _)| adapter.rank()).sum();
    let mut parts = Vec::new();
    for (layer, target) in (0..config.layers).flat_map(|layer| (0..TARGETS.len()).map(move |target| (layer, target))) {
        let find = |adapter: &PeftAdapter| {
            adapter.parts().iter().position(|part| part.layer == layer && part.target == TARGETS[target])
        };
        let Some((n, k)) = adapters.iter().find_map(|(_, adapter, _)| {
            let part = &adapter.parts()[find(adapter)?];
            Some((part.b.len() / part.rank, part.a.len() / part.rank))
        }) else {
            continue;
        };
        let (mut a, mut b, mut first) = (vec![bf16::ZERO; rank * k], vec![bf16::ZERO; n * rank], 0);
        for (i, adapter, weight) in &adapters {
            if let Some(number) = find(adapter) {
                let part = &adapter.parts()[number];
                let number = 2 * (layer * TARGETS.len() + target);
                let (mask_a, mask_b) = (options.mask(*i, number), options.mask(*i, number + 1));
                let kept = |mask: &Mask, index, x: bf16, factor: f64| {
                    let factor = (factor * mask.keep) as f32;
                    if mask.drops(index) { bf16::ZERO } else { bf16::from_f32(x.to_f32() * factor) }
                };
                for (j, x) in part.a.iter().enumerate() {
                    a[first * k + j] = kept(&mask_a, j, *x, 1.0);
                }
                let factor = weight * part.scale as f64 / unit;
                for (j, x) in part.b.iter().enumerate() {
                    b[j / part.rank * rank + first + j % part.rank] = kept(&mask_b, j, *x, factor);
                }
            }
            first += adapter.rank();
        }
        parts.push(AdapterPart { layer, target: TARGETS[target], rank, scale: unit as f32, a, b });
    }
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    write_adapter(folder, config, &parts, unit * rank as f64, false, &name, model.base_id()?)
}

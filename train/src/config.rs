//! The configuration file of a run.

use crate::{Error, Result};
use biomistral_nlu::device::DeviceChoice;
use biomistral_nlu::model::training::{LoraOptions, Tuning};
use biomistral_nlu::weights::{ModelConfig, TARGETS};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A run, as its TOML file says. Paths are relative to the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Model folder or GGUF file.
    pub model: PathBuf,
    /// Folder of the run: checkpoints, metrics, report and result.
    pub output: PathBuf,
    /// Decides everything that is random.
    #[serde(default = "seed")]
    pub seed: u64,
    /// `zephyr`, or `model` for the model's own.
    #[serde(default = "template")]
    pub template: String,
    /// Corpora to train on.
    pub train: Vec<Corpus>,
    /// Corpora whose loss is measured at intervals.
    #[serde(default)]
    pub validation: Vec<Corpus>,
    /// Longest example in tokens.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// What happens to a longer one.
    #[serde(default)]
    pub too_long: TooLong,
    /// Which tokens count.
    #[serde(default)]
    pub labels: Labels,
    /// What is tuned.
    pub tuning: TuningOptions,
    /// How it is tuned.
    #[serde(default)]
    pub optimiser: OptimiserOptions,
    /// How the run is carried out; of these only `batch` and `epochs` change the result.
    #[serde(default)]
    pub run: RunOptions,
}

/// A file of records.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// JSON lines.
    pub file: PathBuf,
    /// Share of the records that is taken, drawn once.
    #[serde(default = "one")]
    pub rate: f64,
    /// What each of its tokens that count counts in the loss of a step, compared with those of other corpora.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub loss_weight: f64,
}

/// What happens to an example that is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// The run does not start.
    #[default]
    Error,
    /// It is left out and counted.
    Drop,
}

/// Which tokens count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// Those of the last answer and the token that ends it.
    #[default]
    Answer,
    /// All, as the reference system did.
    All,
}

/// What is tuned.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningOptions {
    /// `lora` or `full`.
    pub method: Method,
    /// LoRA: `R`.
    #[serde(default = "rank")]
    pub rank: usize,
    /// LoRA: the update counts `alpha / R`.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// LoRA: dropout of the adapter's input.
    #[serde(default)]
    pub dropout: f32,
    /// LoRA: projections that get an update.
    #[serde(default = "targets")]
    pub targets: Vec<String>,
    /// LoRA: `alpha / sqrt(R)` instead.
    #[serde(default)]
    pub rank_stabilised: bool,
    /// LoRA: an adapter to begin with, of the same rank, scale and targets; without one, an update of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Full: optimiser state and weights in bf16 with stochastic rounding.
    #[serde(default)]
    pub half_state: bool,
}

/// Ways of tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Low-rank updates.
    Lora,
    /// Every weight.
    Full,
}

/// AdamW and its schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserOptions {
    /// Highest learning rate.
    pub rate: f64,
    /// How it falls.
    pub schedule: ScheduleKind,
    /// Share of the steps in which it rises.
    pub warmup: f64,
    /// Decay of mean and mean square.
    pub beta: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices.
    pub decay: f64,
    /// Largest norm of the gradients; 0 for no limit.
    pub clip: f64,
}

impl Default for OptimiserOptions {
    fn default() -> Self {
        let (schedule, beta) = (ScheduleKind::Cosine, [0.9, 0.999]);
        OptimiserOptions { rate: 2e-5, schedule, warmup: 0.1, beta, epsilon: 1e-8, decay: 0.0, clip: 1.0 }
    }
}

/// How the rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Not at all.
    Constant,
    /// In a line to 0.
    Linear,
    /// In half a cosine to 0.
    Cosine,
}

/// How the run is carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunOptions {
    /// Times that every example is seen.
    pub epochs: u64,
    /// Examples of a step.
    pub batch: usize,
    /// Tokens computed at a time: a step's examples are packed one after the other into as few passes as they need.
    pub pass_tokens: usize,
    /// MiB of activations that may be kept; blocks beyond are computed again in the backward pass.
    pub activations_mib: u64,
    /// Where to compute: `cpu`, `cuda:N`, or `auto`: the first CUDA device where one can be used and the run fits, else the
    /// processor. Its last bits are the device's own, so a run goes on only where it began.
    #[serde(with = "device")]
    pub device: DeviceChoice,
    /// Threads of the processor; all of the machine where 0.
    pub threads: usize,
    /// Steps from one checkpoint to the next.
    pub save_every: u64,
    /// Steps from one validation to the next; 0 for none before the end.
    pub validate_every: u64,
    /// Validation records that the engine answers each time, taken evenly from all that ask for a choice or spans.
    pub answers: usize,
    /// A step whose loss is above this multiple of the mean of the last 32 ends the run; 0 for no limit.
    pub spike: f64,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            epochs: 2,
            batch: 16,
            pass_tokens: 2048,
            activations_mib: 1024,
            device: DeviceChoice::Auto,
            threads: 0,
            save_every: 100,
            validate_every: 0,
            answers: 100,
            spike: 5.0,
        }
    }
}

/// A device as text.
mod device {
    use super::DeviceChoice;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(choice: &DeviceChoice, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(choice)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DeviceChoice, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

fn seed() -> u64 {
    42
}
fn template() -> String {
    "zephyr".into()
}
fn max_tokens() -> usize {
    2048
}
fn one() -> f64 {
    1.0
}
fn is_one(x: &f64) -> bool {
    *x == 1.0
}
fn rank() -> usize {
    16
}
fn alpha() -> f64 {
    32.0
}
fn targets() -> Vec<String> {
    TARGETS.map(String::from).to_vec()
}

impl Config {
    /// Reads a file; its relative paths become those of its folder.
    ///
    /// # Errors
    /// [`Error::Io`], and what [`Config::parse`] finds.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::parse(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")))
    }

    /// Reads TOML; relative paths become those of `folder`.
    ///
    /// # Errors
    /// [`Error::Format`] of `name` with the line of an unknown key or a wrong type, or naming a value out of range.
    pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Self> {
        let mut config: Config = toml::from_str(text).map_err(|e| Error::format(name, e.to_string()))?;
        let corpora = config.train.iter_mut().chain(&mut config.validation).map(|corpus| &mut corpus.file);
        for path in corpora.chain([&mut config.model, &mut config.output]).chain(&mut config.tuning.from) {
            *path = folder.join(&*path);
        }
        config.check(name)?;
        Ok(config)
    }

    /// Tokens of the context that a validation record is answered in: as many for the answer as for its question.
    pub(crate) fn answer_tokens(&self, model: &ModelConfig) -> usize {
        (2 * self.max_tokens).min(model.max_positions)
    }

    fn check(&self, name: &str) -> Result<()> {
        let (o, r) = (&self.optimiser, &self.run);
        let corpora = || self.train.iter().chain(&self.validation);
        let positive = |w: f64| w > 0.0 && w.is_finite();
        let unit = |x: f64| (0.0..1.0).contains(&x);
        for (what, fine) in [
            ("train: expected at least one corpus", !self.train.is_empty()),
            ("rate of a corpus: expected above 0 and at most 1", corpora().all(|c| c.rate > 0.0 && c.rate <= 1.0)),
            ("loss_weight of a corpus: expected above 0", self.train.iter().all(|c| positive(c.loss_weight))),
            ("loss_weight: expected in train alone", self.validation.iter().all(|c| c.loss_weight == 1.0)),
            ("template: expected zephyr or model", ["zephyr", "model"].contains(&self.template.as_str())),
            ("tuning.from: expected method lora", self.tuning.from.is_none() || self.tuning.method == Method::Lora),
            ("max_tokens: expected at least 2", self.max_tokens >= 2),
            ("run.pass_tokens: expected at least max_tokens", r.pass_tokens >= self.max_tokens),
            (
                "run.epochs, run.batch and run.save_every: expected at least 1",
                r.epochs.min(r.save_every) > 0 && r.batch > 0,
            ),
            ("run.spike: expected 0 or above 1", r.spike == 0.0 || r.spike > 1.0),
            ("optimiser.rate: expected above 0", positive(o.rate)),
            ("optimiser.warmup: expected from 0 to below 1", unit(o.warmup)),
            ("optimiser.beta: expected from 0 to below 1", o.beta.into_iter().all(unit)),
            ("optimiser.epsilon: expected above 0", positive(o.epsilon)),
            ("optimiser.decay: expected from 0 to below 1", unit(o.decay)),
            ("optimiser.clip: expected 0 or above", o.clip >= 0.0 && o.clip.is_finite()),
        ] {
            if !fine {
                return Err(Error::format(name, what));
            }
        }
        Ok(())
    }

    /// What the engine is asked to tune.
    pub fn tuning(&self) -> Tuning {
        let t = &self.tuning;
        match t.method {
            Method::Full => Tuning::Full { half_state: t.half_state },
            Method::Lora => Tuning::Lora(LoraOptions {
                rank: t.rank,
                alpha: t.alpha,
                dropout: t.dropout,
                targets: t.targets.clone(),
                rank_stabilised: t.rank_stabilised,
                seed: self.seed,
            }),
        }
    }
}

//! What a run will need, before it starts.

use crate::Result;
use crate::config::Config;
use crate::data::Data;
use biomistral_nlu::device::cpu::Cpu;
use biomistral_nlu::model::training::{Learner, Tuning};
use biomistral_nlu::weights::ModelConfig;
use std::fmt;

/// Numbers of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Examples, and those left out because they are too long.
    pub examples: (usize, usize),
    /// Tokens of all examples, and of those that count.
    pub tokens: (usize, usize),
    /// Steps of the whole run.
    pub steps: u64,
    /// Parameters of the model, and of those tuned.
    pub parameters: (u64, u64),
    /// Bytes by what they hold.
    pub bytes: Vec<(&'static str, u64)>,
    /// Blocks whose activations are kept, of how many.
    pub kept: (usize, usize),
}

impl Plan {
    /// Of `config` for a model of shape `model` on `data`.
    pub fn new(config: &Config, model: &ModelConfig, data: &Data) -> Result<Self> {
        let tuning = config.tuning();
        let all: u64 = model.tensors().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
        let vectors: u64 =
            model.tensors().filter(|(_, shape)| shape.len() == 1).map(|(_, shape)| shape[0] as u64).sum();
        let tuned = match &tuning {
            Tuning::Full { .. } => all,
            Tuning::Lora(options) => {
                let sides =
                    |name: &str, shape: &[usize]| match options.targets.iter().any(|t| name.contains(t.as_str())) {
                        true => (options.rank * (shape[0] + shape[1])) as u64,
                        false => 0,
                    };
                model.tensors().map(|(name, shape)| sides(&name, &shape)).sum()
            }
        };
        let state = match &tuning {
            Tuning::Full { half_state: true } => 4 * (tuned - vectors) + 12 * vectors,
            Tuning::Full { .. } => 12 * tuned,
            // And the adapter in bf16.
            Tuning::Lora(_) => 14 * tuned,
        };
        let t = config.run.pass_tokens;
        let block = Learner::<Cpu>::block_bytes(model, &tuning, t).max(1);
        let kept = ((config.run.activations_mib << 20) / block).min(model.layers as u64);
        let streams = (4 * t * model.hidden_size * (model.layers + 1)) as u64;
        let widest = model.intermediate_size.max(model.hidden_size) as u64;
        // Widest matrix inputs and outputs, their packed copies, and 192 rows of logits.
        let scratch = t as u64 * widest * 24 + 4 * 192 * model.vocab_size as u64;
        let labelled = data.examples.iter().map(|example| example.labelled()).sum();
        Ok(Plan {
            examples: (data.examples.len(), data.dropped.iter().sum()),
            tokens: (data.examples.iter().map(|example| example.tokens.len()).sum(), labelled),
            steps: config.run.epochs * data.steps(config.run.batch),
            parameters: (all, tuned),
            bytes: vec![
                ("model", 2 * all),
                ("gradients", 4 * tuned),
                ("optimiser", state),
                ("activations", block * (kept + u64::from(kept < model.layers as u64)) + streams),
                ("scratch", scratch),
            ],
            kept: (kept as usize, model.layers),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        writeln!(f, "examples     {} ({} too long and left out)", self.examples.0, self.examples.1)?;
        writeln!(f, "tokens       {} an epoch, {} of them count", self.tokens.0, self.tokens.1)?;
        writeln!(f, "steps        {}", self.steps)?;
        writeln!(f, "parameters   {} tuned of a model of {}", self.parameters.1, self.parameters.0)?;
        for (what, bytes) in &self.bytes {
            writeln!(f, "{what:12} {} MiB", mib(*bytes))?;
        }
        writeln!(f, "memory       {} MiB in all", mib(self.bytes.iter().map(|(_, bytes)| bytes).sum()))?;
        write!(f, "recomputed   {} of {} blocks", self.kept.1 - self.kept.0, self.kept.1)
    }
}

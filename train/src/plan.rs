//! What a run will need, before it starts.

use crate::Result;
use crate::config::Config;
use crate::data::{Data, Example};
use biomistral_nlu::device::DeviceChoice;
use biomistral_nlu::model::training::{Spacing, TrainingMemory, Tuning};
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
    /// Bytes by what they hold, on the device that was asked for; where none was, on the processor.
    pub bytes: Vec<(&'static str, u64)>,
    /// The most bytes that are ever allocated at a time on a CUDA device.
    pub cuda: u64,
    /// Blocks whose activations are kept, of how many.
    pub kept: (usize, usize),
}

impl Plan {
    /// Of `config` for a model of shape `model` on `data`.
    pub fn new(config: &Config, model: &ModelConfig, data: &Data) -> Result<Self> {
        let tuning = config.tuning();
        let all: u64 = model.tensors().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
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
        // An example longer than a pass is one of its own.
        let longest = data.examples.iter().map(|example| example.tokens.len()).max().unwrap_or(0);
        let t = config.run.pass_tokens.max(longest);
        let [here, there] = [Spacing::CPU, Spacing::CUDA].map(|on| TrainingMemory::new(model, &tuning, t, on));
        let memory = if matches!(config.run.device, DeviceChoice::Cuda(_)) { there } else { here };
        let kept = ((config.run.activations_mib << 20) / memory.block.max(1)).min(model.layers as u64);
        let activations = |of: TrainingMemory| of.block * (kept + u64::from(kept < model.layers as u64)) + of.streams;
        let bytes = |of: TrainingMemory| {
            let TrainingMemory { model, gradients, optimiser, scratch, .. } = of;
            [
                ("model", model),
                ("gradients", gradients),
                ("optimiser", optimiser),
                ("activations", activations(of)),
                ("scratch", scratch),
            ]
        };
        let labelled = data.examples.iter().map(Example::labelled).sum();
        Ok(Plan {
            examples: (data.examples.len(), data.dropped.iter().sum()),
            tokens: (data.examples.iter().map(|example| example.tokens.len()).sum(), labelled),
            steps: config.run.epochs * data.steps(config.run.batch),
            parameters: (all, tuned),
            bytes: bytes(memory).to_vec(),
            cuda: bytes(there).iter().map(|(_, bytes)| bytes).sum(),
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

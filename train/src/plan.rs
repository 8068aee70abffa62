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
    /// Floating-point operations of all epochs.
    pub operations: f64,
}

impl Plan {
    /// Of `config` for a model of shape `model` on `data`.
    pub fn new(config: &Config, model: &ModelConfig, data: &Data) -> Result<Self> {
        let (tuning, shape) = (config.tuning(), model);
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
        let full = matches!(tuning, Tuning::Full { .. });
        // An example longer than a pass is one of its own.
        let longest = data.examples.iter().map(|example| example.tokens.len()).max().unwrap_or(0);
        let t = config.run.pass_tokens.max(longest);
        let [here, there] = [Spacing::CPU, Spacing::CUDA].map(|on| TrainingMemory::new(model, &tuning, t, on));
        let cuda = matches!(config.run.device, DeviceChoice::Cuda(_));
        let (memory, on) = if cuda { (there, Spacing::CUDA) } else { (here, Spacing::CPU) };
        let kept = ((config.run.activations_mib << 20) / memory.block.max(1)).min(model.layers as u64);
        let activations = |of: TrainingMemory| of.block * (kept + u64::from(kept < model.layers as u64)) + of.streams;
        let asked = config.run.answers > 0 && !config.validation.is_empty();
        let bytes = |of: TrainingMemory, on: Spacing| {
            let answers = TrainingMemory::answers(shape, &tuning, config.answer_tokens(shape), on);
            let TrainingMemory { model, gradients, optimiser, scratch, .. } = of;
            [
                ("model", model),
                ("gradients", gradients),
                ("optimiser", optimiser),
                ("activations", activations(of)),
                ("scratch", scratch),
                ("answers", if asked { answers } else { 0 }),
            ]
        };
        let labelled = data.examples.iter().map(Example::labelled).sum();
        Ok(Plan {
            examples: (data.examples.len(), data.dropped.iter().sum()),
            tokens: (data.examples.iter().map(|example| example.tokens.len()).sum(), labelled),
            steps: config.run.epochs * data.steps(config.run.batch),
            parameters: (all, tuned),
            bytes: bytes(memory, on).to_vec(),
            cuda: bytes(there, Spacing::CUDA).iter().map(|(_, bytes)| bytes).sum(),
            kept: (kept as usize, model.layers),
            operations: config.run.epochs as f64 * operations(model, data, tuned, kept, full),
        })
    }
}

/// Of an epoch: two per weight and token forwards, two for the gradient of what went in, two for that of tuned weights, two
/// where a block is computed again; for the head only at tokens that count. Attention has two products forwards and five
/// backwards, each of two operations per pair of positions and channel of the heads.
fn operations(model: &ModelConfig, data: &Data, tuned: u64, kept: u64, full: bool) -> f64 {
    let tensors = model.tensors().filter(|(name, shape)| shape.len() == 2 && name.contains(".layers."));
    let blocks: f64 = tensors.map(|(_, shape)| shape.iter().product::<usize>() as f64).sum();
    let head = (model.vocab_size * model.hidden_size) as f64;
    let tokens: f64 = data.examples.iter().map(|example| example.tokens.len() as f64).sum();
    let labelled: f64 = data.examples.iter().map(|example| example.labelled() as f64).sum();
    let again = 1.0 - kept as f64 / model.layers.max(1) as f64;
    let each = if full { 6.0 } else { 4.0 };
    let lora = if full { 0.0 } else { 6.0 * tuned as f64 * tokens };
    let window = model.sliding_window.map_or(f64::MAX, |window| window as f64);
    let pairs = |length: f64| match length > window {
        true => window * (length - (window - 1.0) / 2.0),
        false => length * (length + 1.0) / 2.0,
    };
    let pairs: f64 = data.examples.iter().map(|example| pairs(example.tokens.len() as f64)).sum();
    let channels = (model.layers * model.heads * model.head_dim) as f64;
    tokens * blocks * (each + 2.0 * again) + labelled * head * each + lora + pairs * channels * (14.0 + 4.0 * again)
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
        writeln!(f, "recomputed   {} of {} blocks", self.kept.1 - self.kept.0, self.kept.1)?;
        write!(f, "operations   {:.3} PFLOP", self.operations / 1e15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use biomistral_nlu::weights::Architecture;

    #[test]
    fn operations_are_those_counted_by_hand() {
        let mut model = ModelConfig {
            architecture: Architecture::Mistral,
            hidden_size: 4,
            intermediate_size: 6,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 2,
            vocab_size: 10,
            rope_theta: 1e4,
            rms_norm_eps: 1e-5,
            sliding_window: None,
            max_positions: 64,
            tied_head: true,
        };
        let example = |length: usize| Example {
            tokens: vec![1; length],
            from: 1,
            corpus: 0,
            line: 1,
            group: String::new(),
            question: None,
        };
        let data = Data { examples: vec![example(3), example(2)], dropped: Vec::new(), hash: String::new() };
        // 240 weights in the blocks, 40 in the head; 5 tokens, 3 of them count; 6 + 3 pairs of positions, 8 channels.
        let full = 5.0 * 240.0 * 7.0 + 3.0 * 40.0 * 6.0 + 9.0 * 8.0 * 16.0;
        assert_eq!(operations(&model, &data, 0, 1, true), full, "one of two blocks computed again");
        let lora = 5.0 * 240.0 * 4.0 + 3.0 * 40.0 * 4.0 + 6.0 * 7.0 * 5.0 + 9.0 * 8.0 * 14.0;
        assert_eq!(operations(&model, &data, 7, 2, false), lora);
        model.sliding_window = Some(2);
        assert_eq!(operations(&model, &data, 7, 2, false), lora - 8.0 * 14.0, "the third token does not see the first");
    }
}

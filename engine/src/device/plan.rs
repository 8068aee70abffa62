//! What a model needs of a device's memory, computed before anything is allocated.

use super::WeightStorage;
use crate::weights::{EMBEDDING, ModelConfig};
use crate::{Error, Result};
use std::fmt;

/// Rows, columns and key counts of the device that the sizes depend on.
#[derive(Debug, Clone, Copy)]
pub struct Granularity {
    /// Columns of matrices and of activations are padded to a multiple of this.
    pub columns: usize,
    /// Keys per page of the cache.
    pub page: usize,
    /// Rows of the largest pass.
    pub rows: usize,
    /// Bytes that the device takes for itself: staging, lists, scratch.
    pub fixed: u64,
}

/// Bytes by use, and those that are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The device, by name.
    pub device: String,
    /// Weights, norms, rotary tables.
    pub weights: u64,
    /// Keys and values of one sequence of `context` tokens.
    pub cache: u64,
    /// Tokens of the longest context.
    pub context: usize,
    /// Keys and values of one page of `page_tokens` tokens.
    pub page: u64,
    /// Tokens of a page.
    pub page_tokens: usize,
    /// Activations of the largest pass, and what the device takes for itself.
    pub activations: u64,
    /// Free before anything of this model is allocated.
    pub free: u64,
    /// Of the whole device.
    pub total: u64,
}

impl MemoryPlan {
    /// The plan of a model for contexts of `context` tokens on a device with `(free, total)` bytes.
    pub fn new(
        config: &ModelConfig,
        context: usize,
        storage: WeightStorage,
        device: String,
        (free, total): (u64, u64),
        of: &Granularity,
    ) -> Self {
        let padded = |columns: usize| columns.next_multiple_of(of.columns);
        let tensors = config.tensors().map(|(name, shape)| match shape[..] {
            // A scale a row, and half the bytes.
            [rows, columns] if storage == WeightStorage::Int8 && name != EMBEDDING => {
                (rows * (4 + padded(columns))) as u64
            }
            [rows, columns] => 2 * (rows * padded(columns)) as u64,
            _ => 4 * shape.iter().product::<usize>() as u64,
        });
        let rope = 4 * (config.max_positions * config.head_dim) as u64;
        let page = 4 * (config.layers * config.kv_heads * config.head_dim * of.page) as u64;
        let q = padded(config.heads * config.head_dim);
        let row = 4 * config.hidden_size + 2 * (padded(config.hidden_size) + 2 * q + padded(config.intermediate_size));
        MemoryPlan {
            device,
            weights: tensors.sum::<u64>() + rope,
            cache: page * context.div_ceil(of.page) as u64,
            context,
            page,
            page_tokens: of.page,
            activations: (of.rows * row) as u64 + of.fixed,
            free,
            total,
        }
    }

    /// Bytes needed in all.
    pub fn need(&self) -> u64 {
        self.weights + self.cache + self.activations
    }

    /// Refuses a plan that does not fit, with the figures.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn check(&self) -> Result<()> {
        if self.need() <= self.free {
            return Ok(());
        }
        let left = self.free.saturating_sub(self.weights + self.activations);
        let hint = match left / self.page.max(1) * self.page_tokens as u64 {
            0 => String::new(),
            tokens => format!(", a context of {tokens} tokens would fit"),
        };
        Err(Error::OutOfMemory {
            what: format!(
                "the model on {} (weights {}, keys and values of {} tokens {}, activations {}{hint})",
                self.device,
                Bytes(self.weights),
                self.context,
                Bytes(self.cache),
                Bytes(self.activations)
            ),
            want: self.need(),
            free: self.free,
        })
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.free.saturating_sub(self.need());
        writeln!(f, "memory of {}", self.device)?;
        writeln!(f, "  weights      {:>10}", Bytes(self.weights).to_string())?;
        writeln!(f, "  cache        {:>10}   {} tokens", Bytes(self.cache).to_string(), self.context)?;
        writeln!(f, "  activations  {:>10}", Bytes(self.activations).to_string())?;
        writeln!(f, "  left         {:>10}   of {} free", Bytes(after).to_string(), Bytes(self.free))?;
        write!(f, "  in all       {:>10}", Bytes(self.total).to_string())
    }
}

/// A number of bytes as people read it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n < 10 << 20 => write!(f, "{:.1} KiB", n as f64 / 1024.0),
            n if n < 10 << 30 => write!(f, "{:.1} MiB", n as f64 / f64::from(1 << 20)),
            n => write!(f, "{:.1} GiB", n as f64 / f64::from(1 << 30)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Architecture;

    fn mistral_7b() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Mistral,
            hidden_size: 4096,
            intermediate_size: 14336,
            layers: 32,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            vocab_size: 32000,
            rope_theta: 10_000.0,
            rms_norm_eps: 1e-5,
            sliding_window: Some(4096),
            max_positions: 32768,
            tied_head: false,
        }
    }

    const OF: Granularity = Granularity { columns: 64, page: 64, rows: 1024, fixed: 0 };

    #[test]
    fn seven_billion_weights_need_what_is_known_of_them() {
        let plan =
            MemoryPlan::new(&mistral_7b(), 8192, WeightStorage::Bf16, "cuda:0".into(), (24 << 30, 24 << 30), &OF);
        let (weights, rope) = (7_241_732_096u64, 32768 * 128 * 4);
        let norms = 65 * 4096;
        assert_eq!(plan.weights, 2 * (weights - norms) + 4 * norms + rope);
        // 128 KiB a token.
        assert_eq!(plan.cache, 8192 * 128 * 1024);
        assert_eq!(plan.activations, 1024 * (4096 * 4 + 2 * (3 * 4096 + 14336)));
        assert!(plan.check().is_ok());
    }

    #[test]
    fn a_plan_that_does_not_fit_says_what_would() {
        let plan =
            MemoryPlan::new(&mistral_7b(), 32768, WeightStorage::Bf16, "cuda:0".into(), (16 << 30, 16 << 30), &OF);
        let refusal = plan.check().unwrap_err();
        assert!(matches!(&refusal, Error::OutOfMemory { want, free, .. } if *want == plan.need() && *free == 16 << 30));
        let text = refusal.to_string();
        let hint = text.split("a context of ").nth(1).unwrap();
        let tokens: usize = hint.split(' ').next().unwrap().parse().unwrap();
        let at = |context| {
            MemoryPlan::new(&mistral_7b(), context, WeightStorage::Bf16, "cuda:0".into(), (16 << 30, 16 << 30), &OF)
                .check()
        };
        assert!(at(tokens).is_ok() && at(tokens + 1).is_err(), "{text}");
        let tiny = MemoryPlan::new(&mistral_7b(), 64, WeightStorage::Bf16, "cuda:0".into(), (8 << 30, 8 << 30), &OF);
        assert!(!tiny.check().unwrap_err().to_string().contains("would fit"));
    }

    #[test]
    fn columns_are_padded() {
        let mut config = mistral_7b();
        (config.hidden_size, config.layers, config.tied_head) = (65, 0, true);
        let plan = MemoryPlan::new(&config, 64, WeightStorage::Bf16, String::new(), (0, 0), &OF);
        assert_eq!(plan.weights, 32000 * 128 * 2 + 65 * 4 + 32768 * 128 * 4, "{EMBEDDING} of 65 columns");
    }

    #[test]
    fn int8_weights_of_seven_billion_fit_eight_gigabytes() {
        let plan = |storage| MemoryPlan::new(&mistral_7b(), 2048, storage, "cuda:0".into(), (8 << 30, 8 << 30), &OF);
        assert!(plan(WeightStorage::Bf16).check().is_err());
        assert!(plan(WeightStorage::Int8).check().is_ok());
    }
}

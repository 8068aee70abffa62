//! Weights as they lie on disk: `config.json`, safetensors, GGUF, PEFT adapters.

mod config;
mod matrix;

pub use config::{Architecture, ModelConfig};
pub use matrix::MatrixData;

//! Weights as they lie on disk: `config.json`, safetensors, GGUF, PEFT adapters.

mod checkpoint;
mod config;
mod config_json;
mod dequantize;
mod gguf;
mod gguf_model;
mod matrix;
mod pages;
mod peft;
mod safetensors;
mod tensor;

pub use checkpoint::Checkpoint;
pub use config::{Architecture, EMBEDDING, HEAD, ModelConfig, NORM};
pub use gguf::{Gguf, GgufValue};
pub use matrix::{HostMatrix, MatrixData};
pub use pages::{Arena, PageSlice};
pub use peft::{AdapterPart, PeftAdapter, TARGETS};
pub use tensor::{DType, TensorInfo};

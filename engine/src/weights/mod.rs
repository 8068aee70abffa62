//! Weights as they lie on disk: `config.json`, safetensors, GGUF, PEFT adapters.

mod checkpoint;
mod config;
mod config_json;
mod dequantize;
mod gguf;
mod gguf_model;
mod identity;
mod matrix;
mod merge;
mod pages;
mod peft;
mod peft_write;
mod safetensors;
mod tensor;
mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;
pub use config::{Architecture, EMBEDDING, HEAD, ModelConfig, NORM};
pub use gguf::{Gguf, GgufValue, TextList};
pub use identity::FileHash;
pub use matrix::{HostMatrix, MatrixData};
pub use merge::{MergeOptions, MergeSource, merge_adapters, merge_models};
pub use pages::{Arena, PageSlice};
pub use peft::{AdapterPart, PeftAdapter, TARGETS};
pub use peft_write::write_adapter;
pub use tensor::{DType, TensorInfo};
pub use write::{COMPANIONS, ModelTensor, Progress, copy_companions, random_checkpoint, write_model};

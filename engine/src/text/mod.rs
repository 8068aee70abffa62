//! Text to tokens and back: tokenizers, chat templates, offset units.

mod bpe;
mod byte_level;
mod gguf_vocabulary;
mod hf_json;
mod offset;
mod open;
#[cfg(test)]
mod oracle_tests;
mod pretoken;
mod segment;
mod sentencepiece;
mod sentencepiece_model;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod tokenizer;
mod vocabulary;

pub use gguf_vocabulary::GgufVocabulary;
pub use offset::{OffsetMap, OffsetUnit};
pub use segment::Segment;
pub use template::{ChatTemplate, Message};
pub use tokenizer::Tokenizer;

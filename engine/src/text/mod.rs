//! Text to tokens and back: tokenizers, chat templates, offset units.

mod bpe;
mod byte_level;
mod gguf_vocabulary;
mod hf_json;
mod open;
mod pretoken;
mod segment;
mod sentencepiece;
mod sentencepiece_model;
mod tokenizer;
mod vocabulary;

pub use gguf_vocabulary::GgufVocabulary;
pub use segment::Segment;
pub use tokenizer::Tokenizer;

#![no_main]
//! Any bytes as a GGUF: weights and tokenizer.
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu::weights::Checkpoint;
use biomistral_nlu_fuzz::{read_all, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = with_file("model.gguf", data, &[]).join("model.gguf");
    if let Ok(checkpoint) = Checkpoint::open(&path) {
        read_all(&checkpoint);
    }
    if let Ok(tokenizer) = Tokenizer::open(&path) {
        let _ = tokenizer.encode("β-blocker 12.5\u{a0}mg </s>");
    }
});

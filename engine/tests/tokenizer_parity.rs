//! Our ids against those of `sentencepiece` and `tokenizers`, committed by `tests/python/tokenizer_parity.py`.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use biomistral_nlu::text::Tokenizer;

fn data(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)).unwrap()
}

/// The tokenizer whose file stands in `variable`.
fn open(test: &str, variable: &str) -> Option<Tokenizer> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        eprintln!("SKIPPED {test}: set {variable}, `make test` does");
        return None;
    };
    Some(Tokenizer::open(&path).unwrap())
}

fn compare(tokenizer: &Tokenizer, golden: &str) {
    let (texts, golden) = (data("tokenizer_texts.jsonl"), data(golden));
    let texts: Vec<serde_json::Value> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(texts.len(), golden.lines().count());
    for (row, want) in texts.iter().zip(golden.lines()) {
        let text = row["text"].as_str().unwrap();
        let want: Vec<u32> = serde_json::from_str(want).unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), want, "{text:?}");
        assert_eq!(tokenizer.decode(&want), text.as_bytes());
    }
}

#[test]
fn sentencepiece_ids_are_those_of_the_sentencepiece_library() {
    let Some(tokenizer) = open("sentencepiece_ids", "BMN_MISTRAL_TOKENIZER") else { return };
    compare(&tokenizer, "tokenizer_ids_mistral_v1.jsonl");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 32_000));
}

#[test]
fn gguf_byte_level_ids_are_those_of_the_tokenizers_library() {
    let Some(tokenizer) = open("gguf_byte_level_ids", "BMN_DEMO_MODEL") else { return };
    compare(&tokenizer, "tokenizer_ids_smollm2.jsonl");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 49_152));
}

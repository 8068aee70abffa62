//! Tokenizers small enough to write down, shared by the tests of this room, and the rules that hold for every one.

use super::byte_level::byte_char;
use super::*;

const CONTROLS: [&str; 5] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_end|>x"];

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

/// Byte-level: all 256 bytes, a few merges, no token of `<s>` at the beginning.
pub(crate) fn tiny_byte_level() -> Tokenizer {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    tokens.extend(strings(&["he", "ll", "hell", "Ġhe", "Ġt", "'s", "..", "ĠĠ"]));
    let merges = strings(&["h e", "l l", "he ll", "Ġ he", "Ġ t", "' s", ". .", "Ġ Ġ"]);
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(strings(&CONTROLS));
    token_types.resize(tokens.len(), 3);
    let vocabulary = GgufVocabulary {
        model: "gpt2",
        pre: Some("smollm"),
        tokens: &tokens,
        token_types: &token_types,
        merges: &merges,
        eos: Some(265),
        ..Default::default()
    };
    Tokenizer::from_gguf_vocabulary("tiny", &vocabulary).unwrap()
}

#![no_main]
//! Any bytes as `tokenizer.model`; what opens must encode and give the text back.
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu_fuzz::with_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = with_file("tokenizer.model", data, &[]).join("tokenizer.model");
    if let Ok(tokenizer) = Tokenizer::open(&path)
        && let Ok(ids) = tokenizer.encode("SpO₂ 91 % </s> [INST]\n12.5 µg")
    {
        tokenizer.decode(&ids);
    }
});

#![no_main]
//! Any bytes as `tokenizer.json`; what opens must encode and give the text back.
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu_fuzz::with_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = with_file("tokenizer.json", data, &[]).join("tokenizer.json");
    if let Ok(tokenizer) = Tokenizer::open(&path)
        && let Ok(ids) = tokenizer.encode("SpO₂ 91 % </s> [INST]\n12.5 µg")
    {
        tokenizer.decode(&ids);
    }
});

#![no_main]
//! Any bytes as `config.json` beside good weights.
use biomistral_nlu::weights::Checkpoint;
use biomistral_nlu_fuzz::{WEIGHTS, read_all, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = with_file("config.json", data, &[("model.safetensors", WEIGHTS)]);
    if let Ok(checkpoint) = Checkpoint::open(folder) {
        read_all(&checkpoint);
    }
});

#![no_main]
//! Any bytes as `model.safetensors` beside a good configuration.
use biomistral_nlu::weights::Checkpoint;
use biomistral_nlu_fuzz::{CONFIG, read_all, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = with_file("model.safetensors", data, &[("config.json", CONFIG)]);
    if let Ok(checkpoint) = Checkpoint::open(folder) {
        read_all(&checkpoint);
    }
});

#![no_main]
//! Any bytes as a PEFT adapter: those before the first NUL are its options (empty: good ones), the rest its weights.
use biomistral_nlu::weights::{Checkpoint, ModelConfig, PeftAdapter};
use biomistral_nlu_fuzz::{ADAPTER, CONFIG, WEIGHTS, with_file};
use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static MODEL: OnceLock<ModelConfig> = OnceLock::new();
    let folder = with_file("config.json", CONFIG, &[("model.safetensors", WEIGHTS)]);
    let model = MODEL.get_or_init(|| Checkpoint::open(folder).expect("a good model").config().clone());
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (options, weights) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    with_file("adapter_config.json", if options.is_empty() { ADAPTER } else { options }, &[]);
    let folder = with_file("adapter_model.safetensors", weights, &[]);
    if let Ok(adapter) = PeftAdapter::open(folder, model) {
        adapter.parts();
    }
});

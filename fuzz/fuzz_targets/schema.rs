#![no_main]
//! Any text as a schema.
use biomistral_nlu::task::Schema;

libfuzzer_sys::fuzz_target!(|data: &str| {
    let _ = Schema::from_json(data);
});

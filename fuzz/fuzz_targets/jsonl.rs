#![no_main]
//! Any bytes as JSON lines of documents; no error may quote them.
#[allow(dead_code)]
#[path = "../../cli/src/adapters.rs"]
mod adapters;
#[allow(dead_code, unused_imports)]
#[path = "../../cli/src/args.rs"]
mod args;
#[allow(dead_code)]
#[path = "../../cli/src/input.rs"]
mod input;
#[allow(dead_code)]
#[path = "../../cli/src/stop.rs"]
mod stop;

use biomistral_nlu_fuzz::with_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = with_file("input.jsonl", data, &[]).join("input.jsonl");
    let Ok(mut input) = input::Input::new(&[path], args::Format::Jsonl) else { return };
    let lines = data.iter().filter(|b| **b == b'\n').count() + 1;
    for _ in 0..=lines {
        match input.next_document() {
            Ok(Some(Ok(document))) => drop(document.required("text").map(str::len)),
            Ok(Some(Err(broken))) => assert!(broken.to_json().is_ok() && broken.line.is_some()),
            Ok(None) | Err(_) => return,
        }
    }
    panic!("more documents than lines");
});

//! The demo model's answers on the CUDA device are those of the processor: same spans, same choice, nearly
//! the same log-probabilities.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use biomistral_nlu::device::DeviceChoice;
use biomistral_nlu::task::*;
use common::gpu::Gpu;
use std::path::Path;
use std::sync::Arc;

/// Few words: on the virtual GPU a pass of this model takes about a second.
const NOTE: &str = "Started on aspirin.";

/// Spans and the label of the most probable option, with their log-probabilities.
fn answers(model: &Path, device: DeviceChoice) -> (String, Vec<(String, f64)>) {
    let options = EngineOptions { model: model.into(), device, context: Some(512), ..EngineOptions::default() };
    let engine = Arc::new(Engine::open(&options).unwrap());
    let mut session = engine.session().unwrap();
    let document = [Document { id: "n".into(), text: NOTE.into() }];
    let run = RunOptions::default();
    let policy = SpanPolicy { max_words: Some(3), max_spans: Some(1), ..SpanPolicy::default() };
    let request = ExtractRequest { labels: vec![Label::new("Drug")], policy };
    let extracted = session.extract(&document, &request, &run).unwrap().pop().unwrap().unwrap();
    let spans = extracted.spans.iter().map(|s| (format!("{}..{} {}", s.start, s.end, s.text), s.logprob.unwrap()));
    let classes = ["cardiology", "other"].map(Label::new).to_vec();
    let request = ClassifyRequest { classes, ..ClassifyRequest::default() };
    let ClassifyAnswer::Single(class) = session.classify(&document, &request, &run).unwrap().pop().unwrap().unwrap()
    else {
        panic!("expected one class")
    };
    let options = class.choice.options.iter().map(|o| (o.label.clone(), o.logprob));
    (extracted.provenance.fingerprint, spans.chain([(class.choice.answer.clone(), 0.0)]).chain(options).collect())
}

#[test]
fn the_demo_model_gives_the_same_spans_and_choices() {
    let name = "the_demo_model_gives_the_same_spans_and_choices";
    let Some(model) = common::demo_model(name) else { return };
    let Some(_gpu) = Gpu::take(name, "{}") else { return };
    let (cpu, want) = answers(&model, DeviceChoice::Cpu);
    let (cuda, got) = answers(&model, DeviceChoice::Cuda(0));
    assert!(cpu.starts_with("cpu/") && cuda.starts_with("cuda/"), "{cpu} {cuda}");
    println!("{want:?}\n{got:?}");
    assert_eq!(want.len(), got.len());
    for ((want, a), (got, b)) in want.iter().zip(&got) {
        assert_eq!(want, got);
        // Sums over some six tokens; each device's logits are 0.05 from exact ones on average (tests/golden/demo).
        assert!((a - b).abs() < 0.5, "{want}: {a} and {b}");
    }
}

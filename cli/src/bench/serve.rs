//! `bmn bench --serve`: the same measurements as other engines answer in bench/peers.py, one a line of stdin, so that a script can
//! run all engines in turn and compare within a round.

use super::{machine, model_bytes, resident};
use crate::args::ModelArgs;
use crate::stop::{Result, Stop};
use biomistral_nlu::model::{ModelSession, Step};
use biomistral_nlu::task::{
    ClassifyRequest, Document, Engine, EngineOptions, ExtractRequest, Label, RunOptions, Session, Template,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Tokens decoded one by one after the prompt.
const DECODE_STEPS: usize = 64;

/// What bench/run.py writes.
#[derive(Deserialize)]
struct Workload {
    prompt: Vec<u32>,
    labels: Vec<String>,
    options: Vec<String>,
    spans: Vec<Text>,
    choice: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// Answers measurement names until stdin ends.
pub fn serve(args: &ModelArgs, workload: &Path, threads: usize) -> Result<()> {
    let bytes = std::fs::read(workload).map_err(|e| Stop::failed(format!("{}: {e}", workload.display())))?;
    let load: Workload =
        serde_json::from_slice(&bytes).map_err(|e| Stop::failed(format!("{}: {e}", workload.display())))?;
    let engine = Arc::new(Engine::open(&EngineOptions {
        model: args.model.clone(),
        device: args.device,
        weights: args.weights,
        threads: Some(threads),
        template: Some(Template::Zephyr),
        ..EngineOptions::default()
    })?);
    let mut session = engine.session()?;
    let mut model = Arc::clone(engine.model()).session()?;
    say(&json!({"ready": "bmn"}))?;
    for line in stdin().lock().lines() {
        let what = line.map_err(|e| Stop::failed(format!("stdin: {e}")))?;
        let mut answer = match what.as_str() {
            "prompt" => json!({"seconds": [prompt(model.as_mut(), &load.prompt)?]}),
            "decode" => json!({"seconds": [decode(model.as_mut(), &load.prompt, None)?.0]}),
            "choice" => json!({"seconds": choices(&mut session, &load)?}),
            "spans" => json!({"seconds": spans(&mut session, &load)?}),
            "bandwidth" => {
                let memory = machine::Memory::new(threads);
                let (seconds, bandwidth) = decode(model.as_mut(), &load.prompt, Some(&memory))?;
                json!({"gb_per_second": bandwidth / 1e9, "seconds": [seconds]})
            }
            "peak" => json!({"gflop_per_second": machine::bf16_rate(threads) / 1e9}),
            "facts" => facts(&engine, load.prompt.len() + DECODE_STEPS),
            _ => return Err(Stop::usage(format!("--serve: unknown measurement {what}"))),
        };
        answer["what"] = Value::from(what);
        answer["rss_mib"] = Value::from(resident().unwrap_or(0) as f64 / f64::from(1 << 20));
        say(&answer)?;
    }
    Ok(())
}

fn say(value: &Value) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
}

fn facts(engine: &Engine, tokens: usize) -> Value {
    let c = engine.model().config();
    let (blocks, head) = model_bytes(c);
    // Two operations a weight, and a weight has two bytes.
    json!({
        "fingerprint": engine.model().fingerprint(),
        "weight_bytes": blocks + head,
        "flop_per_prompt_token": blocks,
        "cache_bytes": 4 * tokens * c.layers * c.kv_heads * c.head_dim,
    })
}

/// Seconds to read the prompt and compute the last logits.
fn prompt(model: &mut dyn ModelSession, ids: &[u32]) -> Result<f64> {
    let start = Instant::now();
    let sequence = model.sequence(None)?;
    let last = ids.len().saturating_sub(1) as u32;
    let rows = model.forward(&[Step { sequence, chain: ids, tree: &[], keep: &[last] }])?;
    for row in &rows {
        model.all_logits(*row)?;
    }
    model.release_rows(&rows);
    let seconds = start.elapsed().as_secs_f64();
    model.release(sequence);
    Ok(seconds)
}

/// Seconds a token after the prompt, and with `memory` what the machine reads meanwhile.
fn decode(model: &mut dyn ModelSession, ids: &[u32], memory: Option<&machine::Memory>) -> Result<(f64, f64)> {
    let sequence = model.sequence(None)?;
    model.forward(&[Step { sequence, chain: ids, tree: &[], keep: &[] }])?;
    let decoded = super::decode(model, sequence, ids, DECODE_STEPS, memory)?;
    model.release(sequence);
    Ok(decoded)
}

/// Seconds of each document, one after the other.
fn each(texts: &[Text], mut run: impl FnMut(&[Document]) -> Result<()>) -> Result<Vec<f64>> {
    texts
        .iter()
        .map(|t| {
            let document = Document { id: String::new(), text: t.text.clone() };
            let start = Instant::now();
            run(&[document])?;
            Ok(start.elapsed().as_secs_f64())
        })
        .collect()
}

fn choices(session: &mut Session, load: &Workload) -> Result<Vec<f64>> {
    let classes = load.options.iter().map(Label::new).collect();
    let request = ClassifyRequest { classes, ..ClassifyRequest::default() };
    each(&load.choice, |documents| {
        session
            .classify(documents, &request, &RunOptions::default())?
            .into_iter()
            .collect::<biomistral_nlu::Result<Vec<_>>>()?;
        Ok(())
    })
}

fn spans(session: &mut Session, load: &Workload) -> Result<Vec<f64>> {
    let labels = load.labels.iter().map(Label::new).collect();
    let request = ExtractRequest { labels, ..ExtractRequest::default() };
    each(&load.spans, |documents| {
        session
            .extract(documents, &request, &RunOptions::default())?
            .into_iter()
            .collect::<biomistral_nlu::Result<Vec<_>>>()?;
        Ok(())
    })
}

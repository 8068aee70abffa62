//! Times the span constraint, one thread: `span_constraint TOKENIZER... [--texts FILE]` with tokenizers as
//! `Tokenizer::open` takes them. Per text: set-up with an empty cache and with one that met the text's words before, then
//! per token of random answers the time of `allowed` (the mask), of `advance`, and their sum, each less the time of reading
//! the clock. Whatever is computed lazily is computed in one of these columns: every answer has a grammar of its own. So
//! is all of it together, the set-up and all tokens of an answer. A table goes to stderr, JSON lines to stdout; `--texts` writes the texts as JSON for `bench/peers_constraint.py`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use biomistral_nlu::decode::{Boundary, Constraint, SpanCache, SpanGrammar, SpanPolicy};
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const LENGTHS: [usize; 4] = [1000, 4000, 8000, 32000];
const REPEATS: usize = 30;
const ANSWERS: usize = 200;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const FINDINGS: [&str; 20] = [
    "chest pain",
    "shortness of breath",
    "nausea and vomiting",
    "lower extremity edema",
    "productive cough",
    "dysuria",
    "left flank pain",
    "dizziness",
    "syncope",
    "type 2 diabetes mellitus",
    "hypertension",
    "chronic kidney disease stage 3b",
    "atrial fibrillation",
    "COPD exacerbation",
    "community-acquired pneumonia",
    "acute on chronic systolic heart failure",
    "NSTEMI",
    "cellulitis of the left leg",
    "β-thalassemia trait",
    "iron deficiency anemia",
];
const DRUGS: [&str; 14] = [
    "metformin",
    "lisinopril",
    "atorvastatin",
    "amlodipine",
    "warfarin",
    "furosemide",
    "metoprolol",
    "omeprazole",
    "gabapentin",
    "levothyroxine",
    "insulin glargine",
    "piperacillin-tazobactam",
    "apixaban",
    "(+)-catechin",
];

/// A synthetic note of `chars` characters.
fn note(chars: usize, seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut text = String::new();
    while text.len() < chars * 2 {
        let (a, b, c) = (random.pick(&FINDINGS), random.pick(&FINDINGS), random.pick(&DRUGS));
        let (n, m) = (random.below(80) + 15, random.below(60) + 40);
        text += &match random.below(6) {
            0 => format!("Pt is a {n} y/o {} with a history of {a} and {b}. ", ["male", "female"][n % 2]),
            1 => format!("Denies {a}, {b}, or {}. ", random.pick(&FINDINGS)),
            2 => format!("Started on {c} {}.5 mg PO q6h prn on {}/{}/2023. ", n % 50, n % 12 + 1, m % 28 + 1),
            3 => format!("BP {}/{m}, HR {n}, T 3{}.{}°C, SpO₂ {}% on RA.\n", n + 80, n % 4 + 6, m % 10, n % 15 + 85),
            4 => format!("Assessment: {a}; plan to continue {c} and follow up in {} weeks.\n\n", n % 12 + 1),
            _ => format!(
                "Reports {b} x{} days, worse with exertion (Na {}, K {}.{}). ",
                n % 14,
                n + 70,
                n % 4 + 2,
                m % 10
            ),
        };
    }
    text.chars().take(chars).collect()
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

/// Median, 99th percentile, mean and greatest of `times`.
fn summary(times: &mut [f64]) -> [f64; 4] {
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    [quantile(times, 0.5), quantile(times, 0.99), mean, quantile(times, 1.0)]
}

/// What reading the clock twice takes, in µs: the median of many.
fn clock() -> f64 {
    let mut times: Vec<f64> = (0..10_000).map(|_| Instant::now().elapsed().as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    quantile(&times, 0.5)
}

fn main() -> Result<()> {
    let clock = clock();
    eprintln!("reading the clock: {clock:.3} µs");
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = paths.iter().position(|arg| arg == "--texts") {
        let file = paths.split_off(at).pop().ok_or_else(|| Error::invalid("--texts: expected a file"))?;
        let texts: Vec<String> = LENGTHS.iter().map(|&chars| note(chars, 3)).collect();
        let json = serde_json::to_string(&texts).map_err(|e| Error::internal(e.to_string()))?;
        std::fs::write(&file, json).map_err(|e| Error::io(file, e))?;
    }
    eprintln!("| of `allowed`, `advance` and both: p50 p99 mean max µs");
    let head = ["tokenizer", "mode", "chars", "cold ms", "warm ms", "an answer ms"];
    eprintln!("{:<24} {:>5} {:>6} | {:>9} {:>9} | {:>12} |", head[0], head[1], head[2], head[3], head[4], head[5]);
    let labels = ["Problem".to_string(), "Treatment".to_string()];
    for path in paths {
        let tokenizer = Arc::new(Tokenizer::open(Path::new(&path))?);
        let name = Path::new(&path).file_name().and_then(|n| n.to_str()).unwrap_or("tokenizer").to_owned();
        for boundary in [Boundary::Word, Boundary::Char] {
            for chars in LENGTHS {
                let text = note(chars, 3);
                let policy = SpanPolicy { boundary, ..SpanPolicy::default() };
                let set_up = |cache: &Arc<SpanCache>| -> Result<(f64, SpanGrammar)> {
                    let start = Instant::now();
                    let mut grammar = SpanGrammar::over(cache, &text, &labels, &policy, u32::MAX, "\n")?;
                    let state = grammar.start();
                    grammar.allowed(state);
                    Ok((start.elapsed().as_secs_f64() * 1e3, grammar))
                };
                let (mut cold, mut warm) = (Vec::new(), Vec::new());
                let shared = SpanCache::new(tokenizer.clone());
                set_up(&shared)?;
                for _ in 0..REPEATS {
                    cold.push(set_up(&SpanCache::new(tokenizer.clone()))?.0);
                    warm.push(set_up(&shared)?.0);
                }
                // Every answer on a grammar of its own: its states are new, as in the first answer over a document.
                let (mut masks, mut advances, mut steps, mut random) = (Vec::new(), Vec::new(), Vec::new(), Random(1));
                let mut answers = Vec::new();
                for _ in 0..ANSWERS {
                    let (mut whole, mut grammar) = set_up(&shared)?;
                    let mut state = grammar.start();
                    loop {
                        let start = Instant::now();
                        let allowed = grammar.allowed(state);
                        let mask = start.elapsed();
                        if allowed.is_empty() {
                            break;
                        }
                        let token = allowed[random.below(allowed.len())];
                        let start = Instant::now();
                        state = grammar.advance(state, token).ok_or_else(|| Error::internal("not allowed"))?;
                        let advance = start.elapsed();
                        let [mask, advance] = [mask, advance].map(|time| (time.as_secs_f64() * 1e6 - clock).max(0.0));
                        masks.push(mask);
                        advances.push(advance);
                        steps.push(mask + advance);
                        whole += (mask + advance) / 1e3;
                    }
                    answers.push(whole);
                }
                let [[cold, ..], [warm, ..], [answer, ..]] = [&mut cold, &mut warm, &mut answers].map(|t| summary(t));
                let [mask, advance, step] = [&mut masks, &mut advances, &mut steps].map(|times| summary(times));
                let mode = if boundary == Boundary::Word { "words" } else { "chars" };
                let column = |[p50, p99, mean, max]: [f64; 4]| format!("{p50:>6.3} {p99:>6.2} {mean:>6.3} {max:>6.1}");
                eprintln!(
                    "{name:<24.24} {mode:>5} {chars:>6} | {cold:>9.3} {warm:>9.3} | {answer:>12.3} | {} | {} | {}",
                    column(mask),
                    column(advance),
                    column(step)
                );
                println!(
                    "{}",
                    serde_json::json!({
                        "engine": "biomistral-nlu", "tokenizer": name, "mode": mode, "chars": chars, "setup_cold_ms": cold,
                        "setup_ms": warm, "answer_ms": answer, "p50_us": mask[0], "p99_us": mask[1], "mean_us": mask[2], "max_us": mask[3],
                        "advance_p50_us": advance[0], "advance_p99_us": advance[1], "step_p50_us": step[0],
                        "step_p99_us": step[1], "tokens": steps.len(),
                    })
                );
            }
        }
    }
    Ok(())
}

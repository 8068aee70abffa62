//! `bmn bench`: prompt and decode speed of a model here, beside what the machine can do in the same minute.

#[cfg(feature = "cuda")]
mod kernel;
pub mod machine;
mod serve;

use crate::args::{Bench, BenchPart, ModelArgs};
use crate::stop::{Result, Stop};
use biomistral_nlu::model::{ModelSession, SequenceId, Step};
use biomistral_nlu::weights::ModelConfig;
use serde::Serialize;
use std::io::{Write, stdout};
use std::time::Instant;

/// Median and extremes over the repetitions.
#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    fingerprint: String,
    threads: usize,
    prompt_tokens: usize,
    decode_tokens: usize,
    repeat: usize,
    load_seconds: f64,
    /// Prompt tokens per second.
    prompt: Spread,
    /// Tokens per second after the prompt, one at a time, all logits computed.
    decode: Spread,
    /// Operations of the prompt's matrix products over those of bf16 products on registers.
    prompt_of_bf16_rate: f64,
    /// Bytes of weights, keys and values that a decoded token reads, per second, over the read bandwidth.
    /// Round by round, beside what the machine read between the tokens.
    decode_of_bandwidth: Spread,
    bf16_operations_per_second: f64,
    read_bytes_per_second: Spread,
    weight_bytes: u64,
    resident_bytes: Option<u64>,
}

/// Runs `bmn bench`.
pub fn bench(args: &Bench) -> Result<()> {
    match (&args.part, &args.model) {
        #[cfg(feature = "cuda")]
        (Some(BenchPart::Kernel(kernel)), _) => self::kernel::kernel(kernel),
        #[cfg(not(feature = "cuda"))]
        (Some(BenchPart::Kernel(_)), _) => Err(Stop::failed("bench kernel: this bmn is built without CUDA")),
        (None, Some(model)) => whole(args, model),
        (None, None) => Err(Stop::usage("bench: expected --model PATH or a part")),
    }
}

fn whole(args: &Bench, model: &ModelArgs) -> Result<()> {
    let threads =
        model.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()), usize::from);
    if let Some(workload) = &args.serve {
        return serve::serve(model, workload, threads);
    }
    if args.prompt == 0 || args.decode == 0 || args.repeat == 0 {
        return Err(Stop::usage("--prompt, --decode and --repeat: expected at least 1"));
    }
    let start = Instant::now();
    let (model, adapter) = crate::logits::open(model)?;
    let load_seconds = start.elapsed().as_secs_f64();
    let config = model.config().clone();
    let longest = config.max_positions;
    if args.prompt + args.decode > longest {
        return Err(Stop::usage(format!("--prompt and --decode: expected at most {longest} tokens together")));
    }
    // Any ids do: the time does not depend on them.
    let ids: Vec<u32> = (0..args.prompt).map(|i| (i * 7919 % config.vocab_size) as u32).collect();
    let mut session = model.clone().session()?;
    let (mut prompts, mut decodes) = (Vec::new(), Vec::new());
    let (mut bandwidths, mut of_bandwidth, mut rate) = (Vec::new(), Vec::new(), 0f64);
    let memory = machine::Memory::new(threads);
    let (blocks, head) = model_bytes(&config);
    let keys = (args.prompt + args.decode / 2) * 2 * config.layers * config.kv_heads * config.head_dim;
    let decode_bytes = blocks + head + 2 * keys as u64;
    // The first round warms caches and threads up and is not counted.
    for round in 0..=args.repeat {
        let sequence = session.sequence(adapter)?;
        let prompt = prompt(session.as_mut(), sequence, &ids)?;
        let (seconds, bandwidth) = decode(session.as_mut(), sequence, &ids, args.decode, Some(&memory))?;
        session.release(sequence);
        if round > 0 {
            prompts.push(args.prompt as f64 / prompt);
            decodes.push(1.0 / seconds);
            bandwidths.push(bandwidth);
            of_bandwidth.push(decode_bytes as f64 / seconds / bandwidth);
            rate = rate.max(machine::bf16_rate(threads));
        }
    }
    let (prompt, decode) = (spread(prompts), spread(decodes));
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        fingerprint: model.fingerprint(),
        threads,
        prompt_tokens: args.prompt,
        decode_tokens: args.decode,
        repeat: args.repeat,
        load_seconds,
        prompt_of_bf16_rate: prompt.median * blocks as f64 / rate,
        decode_of_bandwidth: spread(of_bandwidth),
        prompt,
        decode,
        bf16_operations_per_second: rate,
        read_bytes_per_second: spread(bandwidths),
        weight_bytes: blocks + head,
        resident_bytes: resident(),
    };
    let text = if args.json {
        serde_json::to_string(&report).map_err(|e| Stop::failed(format!("report: {e}")))? + "\n"
    } else {
        table(&report)
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
}

/// Bytes of the blocks' matrices and of the head: what a decoded token reads. A prompt token costs as many operations as the
/// blocks have bytes.
fn model_bytes(config: &ModelConfig) -> (u64, u64) {
    let matrices = config.tensors().filter(|(name, shape)| shape.len() == 2 && name.contains("layers"));
    let blocks: u64 = matrices.map(|(_, shape)| (shape[0] * shape[1]) as u64).sum();
    (2 * blocks, 2 * (config.vocab_size * config.hidden_size) as u64)
}

/// Seconds to read the prompt and score what may follow it.
fn prompt(session: &mut dyn ModelSession, sequence: SequenceId, ids: &[u32]) -> Result<f64> {
    let start = Instant::now();
    let last = ids.len() as u32 - 1;
    let rows = session.forward(&[Step { sequence, chain: ids, tree: &[], keep: &[last] }])?;
    session.normalisers(&rows)?;
    let seconds = start.elapsed().as_secs_f64();
    session.release_rows(&rows);
    Ok(seconds)
}

/// Seconds a token, decoded one after the other with all logits computed, and the bytes per second that the machine reads
/// meanwhile, zero without `memory`: what it can read changes within a second where others share it, so after each token
/// it reads for as long as that took.
fn decode(
    session: &mut dyn ModelSession,
    sequence: SequenceId,
    ids: &[u32],
    tokens: usize,
    memory: Option<&machine::Memory>,
) -> Result<(f64, f64)> {
    let (mut seconds, mut bytes, mut reading) = (0.0, 0.0, 0.0);
    for &id in ids.iter().cycle().take(tokens) {
        let start = Instant::now();
        let rows = session.forward(&[Step { sequence, chain: &[id], tree: &[], keep: &[0] }])?;
        session.all_logits(rows[0])?;
        session.release_rows(&rows);
        let taken = start.elapsed().as_secs_f64();
        seconds += taken;
        if let Some(memory) = memory {
            let (read, took) = memory.read(taken);
            bytes += read;
            reading += took;
        }
    }
    Ok((seconds / tokens as f64, if reading > 0.0 { bytes / reading } else { 0.0 }))
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    Spread { median: (low + high) / 2.0, min: values[0], max: values[values.len() - 1] }
}

/// Bytes of this process in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn table(r: &Report) -> String {
    let rate = |s: &Spread| format!("{:>9.1} tok/s   ({:.1} to {:.1})", s.median, s.min, s.max);
    let mib = |bytes: u64| format!("{:>9.0} MiB", bytes as f64 / f64::from(1 << 20));
    format!(
        "{}, {} threads, median of {}\n\
         load       {:>9.2} s\n\
         prompt     {}   {} tokens, {:.0} % of the bf16 rate\n\
         decode     {}   at {} tokens, {:.0} % of the read bandwidth\n\
         machine    {:>9.1} GFLOP/s bf16, {:.1} GB/s read\n\
         weights    {}\n\
         resident   {}\n",
        r.fingerprint,
        r.threads,
        r.repeat,
        r.load_seconds,
        rate(&r.prompt),
        r.prompt_tokens,
        100.0 * r.prompt_of_bf16_rate,
        rate(&r.decode),
        r.prompt_tokens,
        100.0 * r.decode_of_bandwidth.median,
        r.bf16_operations_per_second / 1e9,
        r.read_bytes_per_second.median / 1e9,
        mib(r.weight_bytes),
        r.resident_bytes.map_or("  unknown".to_owned(), mib),
    )
}

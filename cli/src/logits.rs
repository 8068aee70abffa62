//! `bmn logits`: token ids in, log-probabilities out, for checks against other implementations.

use crate::args::{Logits, ModelArgs};
use crate::opening::OpeningView;
use crate::stop::{Result, Stop};
use biomistral_nlu::model::{self, AdapterId, LanguageModel, Placement, Step};
use biomistral_nlu::weights::{Checkpoint, PeftAdapter};
use serde::Serialize;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::Path;
use std::sync::Arc;

/// One position of the output.
#[derive(Serialize)]
struct Line {
    position: usize,
    top: Vec<(usize, f64)>,
    next_logprob: Option<f64>,
}

/// Positions computed per pass; bounds the rows that are kept.
const CHUNK: usize = 128;

/// The model without tokenizer or templates.
pub fn open(args: &ModelArgs) -> Result<(Arc<dyn LanguageModel>, Option<AdapterId>)> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let adapter = args.adapter.as_ref().map(|path| checkpoint.adapter(path)).transpose()?;
    let placement = Placement {
        device: args.device,
        threads: args.threads.map(usize::from),
        context: args.context,
        weights: args.weights,
        wipe: args.wipe,
    };
    let parts = adapter.as_ref().map_or(&[][..], PeftAdapter::parts);
    let (merge, beside) = if args.merge { (parts, &[][..]) } else { (&[][..], parts) };
    let mut view = OpeningView::new(false);
    let model = model::open(&checkpoint, &placement, merge, &mut |opening| view.tell(&opening))?;
    let id = if beside.is_empty() { None } else { Some(model.load_adapter(beside)?) };
    Ok((model, id))
}

/// Runs `bmn logits`.
pub fn logits(args: &Logits) -> Result<()> {
    let (model, adapter) = open(&args.model)?;
    let config = model.config();
    let (vocabulary, longest) = (config.vocab_size, config.max_positions);
    if let Some(id) = args.ids.iter().find(|id| **id as usize >= vocabulary) {
        return Err(Stop::usage(format!("--ids: expected ids below {vocabulary}, found {id}")));
    }
    if args.ids.len() > longest {
        return Err(Stop::usage(format!("--ids: expected at most {longest} ids, found {}", args.ids.len())));
    }
    let mut file = args.out.as_deref().map(|path| Table::create(path, args.ids.len(), vocabulary)).transpose()?;
    let mut out = BufWriter::new(stdout().lock());
    let mut session = model.clone().session()?;
    let sequence = session.sequence(adapter)?;
    for (chunk, ids) in args.ids.chunks(CHUNK).enumerate() {
        let keep: Vec<u32> = (0..ids.len() as u32).collect();
        let rows = session.forward(&[Step { sequence, chain: ids, tree: &[], keep: &keep }])?;
        for (i, row) in rows.iter().enumerate() {
            let position = chunk * CHUNK + i;
            let logprobs = log_softmax(&session.all_logits(*row)?);
            let next_logprob = args.ids.get(position + 1).map(|id| logprobs[*id as usize]);
            let line = Line { position, top: top(&logprobs, args.top), next_logprob };
            let line = serde_json::to_string(&line).map_err(|e| Stop::failed(format!("result line: {e}")))?;
            writeln!(out, "{line}").map_err(|e| Stop::write("stdout", &e))?;
            if let Some(file) = &mut file {
                file.row(&logprobs)?;
            }
        }
        session.release_rows(&rows);
    }
    if let Some(file) = file {
        file.finish()?;
    }
    out.flush().map_err(|e| Stop::write("stdout", &e))
}

/// `x - log Σ exp x`, in f64.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    let normaliser = max + sum.ln();
    logits.iter().map(|x| f64::from(*x) - normaliser).collect()
}

/// The `k` largest as `[id, logprob]`, the smaller id first where they are equal.
fn top(logprobs: &[f64], k: usize) -> Vec<(usize, f64)> {
    let mut ids: Vec<usize> = (0..logprobs.len()).collect();
    let order = |a: &usize, b: &usize| logprobs[*b].total_cmp(&logprobs[*a]).then(a.cmp(b));
    if k < ids.len() {
        ids.select_nth_unstable_by(k, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    ids.into_iter().map(|id| (id, logprobs[id])).collect()
}

/// All log-probabilities as a file, `[positions, vocabulary]`.
struct Table {
    out: BufWriter<File>,
    name: String,
    npy: bool,
    rows: usize,
}

impl Table {
    fn create(path: &Path, positions: usize, vocabulary: usize) -> Result<Self> {
        let name = path.display().to_string();
        let npy = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => true,
            Some("json") => false,
            _ => return Err(Stop::usage(format!("--out: expected a name ending in .npy or .json, found {name}"))),
        };
        let file = File::create(path).map_err(|e| Stop::failed(format!("{name}: {e}")))?;
        let mut table = Table { out: BufWriter::new(file), name, npy, rows: 0 };
        let head = if npy { npy_header(positions, vocabulary) } else { b"[".to_vec() };
        table.write(&head)?;
        Ok(table)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Stop::failed(format!("{}: {e}", self.name)))
    }

    fn row(&mut self, logprobs: &[f64]) -> Result<()> {
        let bytes = if self.npy {
            logprobs.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()
        } else {
            let comma = if self.rows > 0 { "," } else { "" };
            format!("{comma}{}", json!(logprobs)).into_bytes()
        };
        self.rows += 1;
        self.write(&bytes)
    }

    fn finish(mut self) -> Result<()> {
        if !self.npy {
            self.write(b"]\n")?;
        }
        self.out.flush().map_err(|e| Stop::failed(format!("{}: {e}", self.name)))
    }
}

/// The header of NumPy's format 1.0 for f32 in C order, padded to a multiple of 64 bytes.
fn npy_header(rows: usize, cols: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let pad = 64 - (10 + text.len() + 1) % 64;
    text.push_str(&" ".repeat(pad % 64));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_softmax_sums_to_one_and_survives_large_logits() {
        let logprobs = log_softmax(&[1000.0, 1001.0, 999.5]);
        assert!((logprobs.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((logprobs[1] - logprobs[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_largest_come_first_and_ties_by_id() {
        let ids = |k| top(&[-1.0, -0.5, -0.5, -3.0], k).iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(3), [1, 2, 0]);
        assert_eq!(ids(9), [1, 2, 0, 3]);
        assert_eq!(ids(0), [0usize; 0]);
    }

    #[test]
    fn npy_headers_are_aligned() {
        for (rows, cols) in [(1, 1), (12, 49152), (123_456, 32_000)] {
            let header = npy_header(rows, cols);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        }
    }
}

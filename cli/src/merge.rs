//! `bmn merge`: fine-tuned models and adapters into a model, or adapters into one.

use crate::args::Merge;
use crate::progress::Progress;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::{MergeOptions, MergeSource, merge_adapters, merge_models};
use std::io::{Write, stderr, stdout};

/// Runs `bmn merge`.
pub fn merge(args: &Merge) -> Result<()> {
    let models = args.models.iter().cloned().map(MergeSource::Model);
    let sources: Vec<MergeSource> = models.chain(args.adapters.iter().cloned().map(MergeSource::Adapter)).collect();
    let weights = match args.weights.len() {
        0 => vec![1.0 / sources.len() as f64; sources.len()],
        n if n == sources.len() => args.weights.clone(),
        n => {
            let expected =
                format!("--weights: expected one per model and adapter, {} in all, found {n}", sources.len());
            return Err(Stop::usage(expected));
        }
    };
    let sign = if args.subtract { -1.0 } else { 1.0 };
    let options = MergeOptions {
        sources: sources.into_iter().zip(weights.into_iter().map(|weight| sign * weight)).collect(),
        drop: args.drop,
        rescale: !args.no_rescale,
        seed: args.seed,
    };
    if args.as_adapter {
        merge_adapters(&args.base, &options, &args.out)?;
    } else {
        let progress = Progress::bytes();
        let merged = merge_models(&args.base, &options, &args.out, &mut |done, total| progress.of(done, total));
        progress.finish();
        merged?;
        if args.base.is_file() {
            let _ = writeln!(
                stderr(),
                "bmn: the tokenizer stays in {}; put the model's tokenizer.json or tokenizer.model into {}",
                args.base.display(),
                args.out.display()
            );
        }
    }
    writeln!(stdout(), "{}", args.out.display()).map_err(|e| Stop::write("stdout", &e))
}

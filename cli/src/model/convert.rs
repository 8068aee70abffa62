//! `bmn model convert`: any readable model as a folder of bf16 safetensors.

use crate::progress::Progress;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::Checkpoint;
use std::io::{Write, stderr};
use std::path::Path;

/// Files beside the weights that belong to a model.
const COMPANIONS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
    "bmn.json",
    "LICENSE",
];

/// Runs `bmn model convert`.
pub fn convert(model: &Path, out: &Path) -> Result<()> {
    let checkpoint = Checkpoint::open(model)?;
    let progress = Progress::bytes();
    let written = checkpoint.write_safetensors(out, &mut |done, total| progress.of(done, total));
    progress.finish();
    written?;
    if model.is_dir() {
        for name in COMPANIONS {
            let (from, to) = (model.join(name), out.join(name));
            if from.is_file() {
                std::fs::copy(&from, &to).map_err(|e| Stop::failed(format!("{}: {e}", to.display())))?;
            }
        }
    } else {
        let _ = writeln!(
            stderr(),
            "bmn: the tokenizer stays in {}; put the model's tokenizer.json or tokenizer.model into {}",
            model.display(),
            out.display()
        );
    }
    Ok(())
}

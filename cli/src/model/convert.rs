//! `bmn model convert`: any readable model as a folder of bf16 safetensors.

use crate::progress::Progress;
use crate::stop::Result;
use biomistral_nlu::weights::{Checkpoint, copy_companions};
use std::io::{Write, stderr};
use std::path::Path;

/// Runs `bmn model convert`.
pub fn convert(model: &Path, out: &Path) -> Result<()> {
    let checkpoint = Checkpoint::open(model)?;
    let progress = Progress::bytes();
    let written = checkpoint.write_safetensors(out, &mut |done, total| progress.of(done, total));
    progress.finish();
    written?;
    if model.is_dir() {
        copy_companions(model, out)?;
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

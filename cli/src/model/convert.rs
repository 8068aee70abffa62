//! `bmn model convert`: any readable model as a folder of bf16 safetensors, an adapter merged in if given.

use super::shards;
use crate::stop::{Result, Stop};
use biomistral_nlu::model::merged;
use biomistral_nlu::weights::{AdapterPart, Checkpoint, PeftAdapter};
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
pub fn convert(model: &Path, out: &Path, adapter: Option<&Path>) -> Result<()> {
    let checkpoint = Checkpoint::open(model)?;
    checkpoint.check_complete()?;
    let adapter = adapter.map(|path| PeftAdapter::open(path, checkpoint.config())).transpose()?;
    shards::write(out, checkpoint.config(), |name, shape| match shape {
        [len] => {
            Ok(checkpoint.vector(name, *len)?.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect())
        }
        [rows, cols] => {
            let mut matrix = checkpoint.matrix(name, *rows, *cols)?;
            let part = |p: &&AdapterPart| name == format!("model.layers.{}.{}.weight", p.layer, p.target);
            if let Some(p) = adapter.as_ref().and_then(|a| a.parts().iter().find(part)) {
                matrix = merged(&matrix, &p.a, &p.b, p.rank, p.scale);
            }
            Ok(matrix.data.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        other => Err(Stop::failed(format!("{name}: expected a vector or a matrix, found shape {other:?}"))),
    })?;
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

//! `bmn model`: look at, check, convert and generate model files.

mod convert;
mod info;
mod random;
mod verify;

use crate::args::ModelCommand;
use crate::stop::Result;

/// Runs `bmn model ...`.
pub fn model(command: &ModelCommand) -> Result<()> {
    match command {
        ModelCommand::Info { model, json } => info::info(model, *json),
        ModelCommand::Verify { model, against } => verify::verify(model, against.as_deref()),
        ModelCommand::Convert { model, out } => convert::convert(model, out),
        ModelCommand::Random { out, shape, seed } => random::random(out, shape, *seed),
    }
}

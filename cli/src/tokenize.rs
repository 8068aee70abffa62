//! `bmn tokenize`: ids of texts, as the model would read them, without special tokens.

use crate::args::Tokenize;
use crate::input::{Broken, Document, INVALID, Input};
use crate::stop::{Result, Stop};
use biomistral_nlu::text::Tokenizer;
use std::io::{BufWriter, Write, stdout};

/// Runs `bmn tokenize`.
pub fn tokenize(args: &Tokenize) -> Result<()> {
    let mut input = Input::new(&args.inputs, args.format)?;
    let tokenizer = Tokenizer::open(&args.model)?;
    let mut out = BufWriter::new(stdout().lock());
    let (mut documents, mut failed) = (0u64, 0u64);
    while let Some(next) = input.next_document()? {
        documents += 1;
        let line = match next.and_then(|document| ids(&tokenizer, &document)) {
            Ok(line) => line,
            Err(broken) => {
                failed += 1;
                broken.to_json()?
            }
        };
        writeln!(out, "{line}").map_err(|e| Stop::write("stdout", &e))?;
    }
    out.flush().map_err(|e| Stop::write("stdout", &e))?;
    if failed > 0 {
        return Err(Stop::SomeFailed(format!("{failed} of {documents} documents failed")));
    }
    Ok(())
}

fn ids(tokenizer: &Tokenizer, document: &Document) -> std::result::Result<String, Broken> {
    let text = document.required("text").map_err(|why| document.broken(INVALID, why))?;
    let ids = tokenizer.encode(text).map_err(|e| document.broken(e.code(), e.to_string()))?;
    let list: Vec<String> = ids.iter().map(u32::to_string).collect();
    Ok(format!("{{\"id\":{},\"ids\":[{}]}}", document.id, list.join(",")))
}

//! `bmn convert`: annotated documents from one format to another, with a report of what was lost.

use crate::args::{Convert, Unit};
use crate::stop::{Result, Stop};
use biomistral_nlu_formats::convert::{Format, Losses, fit, print, read};
use biomistral_nlu_formats::{Document, brat, corpora};
use std::collections::HashSet;
use std::io::{Write, stderr};
use std::path::Path;

/// Runs `bmn convert`.
pub fn convert(args: &Convert) -> Result<()> {
    let format = |name: &str| {
        let names = || Format::ALL.map(Format::name).join(", ");
        Format::parse(name).ok_or_else(|| Stop::usage(format!("format: expected one of {}, found {name:?}", names())))
    };
    let (from, to) = (format(&args.from)?, format(&args.to)?);
    let asked = args.unit.map(|unit| match unit {
        Unit::Byte => biomistral_nlu_formats::Unit::Byte,
        Unit::Codepoint => biomistral_nlu_formats::Unit::CodePoint,
        Unit::Utf16 => biomistral_nlu_formats::Unit::Utf16,
    });
    let unit = match (to.own_unit(), asked) {
        (Some(own), Some(asked)) if own != asked => {
            return Err(Stop::usage(format!("--unit: {} has its offsets in {} alone", to.name(), own.name())));
        }
        (own, asked) => own.or(asked).unwrap_or(to.usual_unit()),
    };
    if args.out.exists() {
        return Err(Stop::failed(format!("{}: exists already", args.out.display())));
    }
    let (mut documents, problems) = read(from, &args.input)?;
    let mut losses = Losses::new();
    documents.iter_mut().for_each(|document| fit(to, document, &mut losses));
    match to {
        Format::Brat => folder(&documents, &args.out)?,
        _ => write(&args.out, &print(to, &documents, unit)?)?,
    }
    let mut report = format!("{} documents, offsets in {}\n", documents.len(), unit.name());
    for (what, count) in losses {
        report += &format!("lost: {count} × {what}\n");
    }
    for problem in &problems.0 {
        report += &format!("wrong in the input: {problem}\n");
    }
    let _ = write!(stderr(), "{report}");
    Ok(())
}

/// A text and its `.ann` per document, called by its id.
fn folder(documents: &[Document], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|e| Stop::failed(format!("{}: {e}", out.display())))?;
    let mut names = HashSet::new();
    for document in documents {
        let name = corpora::file_name(&document.id);
        if !names.insert(name.clone()) {
            return Err(Stop::failed(format!("two documents would be the file {name}.txt")));
        }
        write(&out.join(format!("{name}.txt")), &document.text)?;
        write(&out.join(format!("{name}.ann")), &brat::write(document)?)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))
}

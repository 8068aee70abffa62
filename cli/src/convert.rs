//! `bmn convert`: annotated documents from one format to another, with a report of what was lost.

use crate::args::{Convert, Unit};
use crate::parquet;
use crate::stop::{Result, Stop};
use biomistral_nlu_formats::convert::{Format, Losses, fit, print, read};
use biomistral_nlu_formats::{Codes, Document, Unit as FormatUnit, brat, corpora, fhir, omop};
use std::collections::HashSet;
use std::io::{Write, stderr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Forms that are only written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Export {
    Fhir,
    Omop,
    OmopParquet,
}

/// What is written.
#[derive(Clone, Copy)]
enum Target {
    Format(Format),
    Export(Export),
}

impl Target {
    const EXPORTS: [(&str, Export); 3] =
        [("fhir", Export::Fhir), ("omop", Export::Omop), ("omop-parquet", Export::OmopParquet)];

    fn parse(name: &str) -> Result<Self> {
        let export = Self::EXPORTS.iter().find(|(known, _)| *known == name).map(|(_, export)| Target::Export(*export));
        let formats = Format::ALL.map(Format::name).join(", ");
        let exports = Self::EXPORTS.map(|(name, _)| name).join(", ");
        Format::parse(name)
            .map(Target::Format)
            .or(export)
            .ok_or_else(|| Stop::usage(format!("--to: expected one of {formats}, {exports}, found {name:?}")))
    }
}

/// Runs `bmn convert`.
pub fn convert(args: &Convert) -> Result<()> {
    let names = || Format::ALL.map(Format::name).join(", ");
    let from = Format::parse(&args.from)
        .ok_or_else(|| Stop::usage(format!("--from: expected one of {}, found {:?}", names(), args.from)))?;
    let to = Target::parse(&args.to)?;
    if args.codes.is_some() && matches!(to, Target::Format(_)) {
        return Err(Stop::usage(format!("--codes: expected with fhir and omop, found {}", args.to)));
    }
    let (own, usual) = match to {
        Target::Format(format) => (format.own_unit(), format.usual_unit()),
        Target::Export(_) => (None, FormatUnit::CodePoint),
    };
    let asked = args.unit.map(|unit| match unit {
        Unit::Byte => FormatUnit::Byte,
        Unit::Codepoint => FormatUnit::CodePoint,
        Unit::Utf16 => FormatUnit::Utf16,
    });
    let unit = match (own, asked) {
        (Some(own), Some(asked)) if own != asked => {
            return Err(Stop::usage(format!("--unit: {} has its offsets in {} alone", args.to, own.name())));
        }
        (own, asked) => own.or(asked).unwrap_or(usual),
    };
    if args.out.exists() {
        return Err(Stop::failed(format!("{}: exists already", args.out.display())));
    }
    let (mut documents, problems) = read(from, &args.input)?;
    let mut losses = Losses::new();
    match to {
        Target::Format(format) => {
            documents.iter_mut().for_each(|document| fit(format, document, &mut losses));
            match format {
                Format::Brat => folder(&documents, &args.out)?,
                _ => write(&args.out, &print(format, &documents, unit)?)?,
            }
        }
        Target::Export(to) => export(to, &documents, unit, args, &mut losses)?,
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

fn export(to: Export, documents: &[Document], unit: FormatUnit, args: &Convert, losses: &mut Losses) -> Result<()> {
    let codes = match &args.codes {
        None => Codes::default(),
        Some(path) => {
            let named = |e: std::io::Error| Stop::failed(format!("{}: {e}", path.display()));
            Codes::read(&path.display().to_string(), &std::fs::read_to_string(path).map_err(named)?)?
        }
    };
    if to == Export::Fhir {
        return write(&args.out, fhir::write(documents, unit, &codes, losses)?);
    }
    let date = args.date.clone().unwrap_or_else(today);
    let origin = omop::Origin::new(unit, &args.system, &date)?;
    let rows = omop::rows(documents, &origin, &codes, losses)?;
    match to {
        Export::OmopParquet => write(&args.out, parquet::note_nlp(&rows, &origin)?),
        _ => write(&args.out, omop::csv(&rows, &origin)?),
    }
}

/// The date in UTC.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = omop::civil((since.as_secs() / 86_400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
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
        write(&out.join(format!("{name}.ann")), brat::write(document)?)?;
    }
    Ok(())
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, content).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))
}

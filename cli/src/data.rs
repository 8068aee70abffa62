//! `bmn data`: corpora read, checked, and made into training records.

use crate::args::DataCommand;
use crate::stop::{Result, Stop};
use biomistral_nlu_formats::corpora::{self, Corpus, Split};
use biomistral_nlu_formats::{Document, Error, Mention};
use biomistral_nlu_train::instruct::{InstructConfig, RunPlan, build};
use serde_json::json;
use std::io::{Write, stderr, stdout};
use std::path::Path;

/// Runs `bmn data ...`.
pub fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Check { folder, reader, problems, json } => check(folder, reader.as_deref(), *problems, *json),
        DataCommand::Build { config, run, corpora, model, out, quiet } => {
            let mut config = InstructConfig::read(config)?;
            if let Some(run) = run {
                config.run = Some(RunPlan::read(run)?);
            }
            let mut progress = |corpus: &str| {
                if !quiet {
                    let _ = writeln!(stderr(), "{corpus}");
                }
            };
            let built = build(&config, corpora, model, out, &mut progress)?;
            print(&built.card.markdown())
        }
    }
}

fn print(text: &str) -> Result<()> {
    write!(stdout(), "{text}").map_err(|e| Stop::write("stdout", &e))
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::failed(e.to_string())
    }
}

fn check(folder: &Path, reader: Option<&str>, problems: bool, as_json: bool) -> Result<()> {
    let named = match reader {
        Some(reader) => vec![(reader.to_owned(), folder.to_owned())],
        None => {
            let entries = std::fs::read_dir(folder).map_err(|e| Stop::failed(format!("{}: {e}", folder.display())))?;
            let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
            let mut folders: Vec<_> =
                folders.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path))).collect();
            folders.sort();
            folders
        }
    };
    let mut failed = 0;
    if !as_json {
        print(&format!("{}\n", HEADER.join("\t")))?;
    }
    for (name, path) in &named {
        match corpora::read(name, path) {
            Ok(corpus) => print(&report(name, &corpus, problems, as_json))?,
            Err(e) => {
                failed += 1;
                let _ = writeln!(stderr(), "bmn: {e}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Stop::SomeFailed(format!("{failed} of {} corpora could not be read", named.len()))),
    }
}

const HEADER: [&str; 12] = [
    "corpus",
    "split",
    "documents",
    "mentions",
    "discontinuous",
    "overlapping",
    "events",
    "relations",
    "classed",
    "pairs",
    "questions",
    "problems",
];

fn report(name: &str, corpus: &Corpus, problems: bool, as_json: bool) -> String {
    let mut out = String::new();
    for split in &corpus.splits {
        let counts = counts(split);
        if as_json {
            let counts: serde_json::Map<String, serde_json::Value> =
                HEADER[2..].iter().zip(counts).map(|(key, count)| ((*key).to_owned(), json!(count))).collect();
            out += &format!("{}\n", json!({"corpus": name, "split": split.name, "counts": counts}));
        } else {
            out += &format!("{name}\t{}\t{}\n", split.name, counts.map(|count| count.to_string()).join("\t"));
        }
    }
    let found = corpus.problems.counts();
    if as_json {
        let found: serde_json::Map<String, serde_json::Value> =
            found.into_iter().map(|(trouble, count)| (trouble.name().to_owned(), json!(count))).collect();
        out += &format!("{}\n", json!({"corpus": name, "problems": found}));
    } else {
        for (trouble, count) in found {
            out += &format!("{name}\t\t\t\t\t\t\t\t\t\t\t{count} × {}\n", trouble.name());
        }
    }
    if problems {
        out.extend(corpus.problems.0.iter().map(|problem| match as_json {
            true => format!("{}\n", json!({"corpus": name, "problem": problem.to_string()})),
            false => format!("  {problem}\n"),
        }));
    }
    out
}

/// In the order of the header, from the third on; problems are of the whole corpus.
fn counts(split: &Split) -> [usize; 9] {
    let sum = |of: fn(&Document) -> usize| split.documents.iter().map(of).sum::<usize>();
    [
        split.documents.len(),
        sum(|document| document.mentions.len()),
        sum(|document| document.mentions.iter().filter(|mention| mention.discontinuous()).count()),
        sum(overlapping),
        sum(|document| document.events.len()),
        sum(|document| document.relations.len()),
        split.documents.iter().filter(|document| !document.classes.is_empty()).count(),
        split.pairs.len(),
        split.questions.len(),
    ]
}

/// Mentions that share a byte with an earlier one.
fn overlapping(document: &Document) -> usize {
    let mut extents: Vec<_> = document.mentions.iter().map(Mention::extent).collect();
    extents.sort_by_key(|extent| (extent.start, extent.end));
    let (mut end, mut count) = (0, 0);
    for extent in extents {
        count += usize::from(extent.start < end);
        end = end.max(extent.end);
    }
    count
}

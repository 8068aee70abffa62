//! Arguments of `bmn data` and `bmn convert`.

use super::Unit;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `bmn data ...`
#[derive(Subcommand)]
pub enum DataCommand {
    /// Read corpora and print what they hold and what is wrong in their files
    #[command(after_help = "NAME is a corpus or one of brat, bionlp, bioc, pubtator, conll; see docs/data.md.\n\
        Example: bmn data check corpora/train\n\
        Example: bmn data check --reader brat my-notes --problems")]
    Check {
        /// A folder of folders, each named as its corpus; with --reader the corpus itself
        folder: PathBuf,
        /// How the folder is read
        #[arg(long, value_name = "NAME")]
        reader: Option<String>,
        /// List every problem by file and line
        #[arg(long)]
        problems: bool,
        /// As JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Make training records of corpora, with a data card
    #[command(after_help = "Example: bmn data build --config data/mnlu.toml --corpora corpora --model M --out mnlu")]
    Build {
        /// Configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// TOML with another `[run]` than the configuration's: tokens, shares, train
        #[arg(long, value_name = "FILE")]
        run: Option<PathBuf>,
        /// The folder that its folders are below
        #[arg(long, value_name = "FOLDER")]
        corpora: PathBuf,
        /// Model folder, .gguf file, tokenizer.json or tokenizer.model that lengths are counted with
        #[arg(long, short, value_name = "PATH")]
        model: PathBuf,
        /// Folder to create
        #[arg(long, short, value_name = "FOLDER")]
        out: PathBuf,
        /// No progress
        #[arg(long, short)]
        quiet: bool,
    },
}

/// `bmn convert`
#[derive(Args)]
#[command(
    after_help = "Formats: jsonl, brat (a folder), bioc, bioc-json, pubtator, label-studio; out only: fhir (R4, JSON),\n\
    omop (NOTE_NLP of CDM 5.4, CSV), omop-parquet. What the target cannot say is counted on stderr, and so is what is\n\
    wrong in the input; see docs/data.md.\n\
    Examples:\n  \
    bmn convert --from brat --to label-studio notes tasks.json\n  \
    bmn convert --from jsonl --to fhir --codes codes.csv notes.jsonl bundle.json"
)]
pub struct Convert {
    /// Format of IN
    #[arg(long, value_name = "FORMAT")]
    pub from: String,
    /// Format of OUT
    #[arg(long, value_name = "FORMAT")]
    pub to: String,
    /// File or folder to read
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// File or folder to create
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Unit of offsets written [default: code points, for Label Studio UTF-16]
    #[arg(long, value_enum)]
    pub unit: Option<Unit>,
    /// fhir, omop: codes of mentions, CSV of label, match (text or concept), system, code, display, concept_id
    #[arg(long, value_name = "FILE")]
    pub codes: Option<PathBuf>,
    /// omop: nlp_system
    #[arg(long, value_name = "NAME", default_value = "bmn convert")]
    pub system: String,
    /// omop: nlp_date [default: today, UTC]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
}

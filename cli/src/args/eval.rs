//! Arguments of `bmn eval`.

use super::{ChoiceArgs, ModelArgs, TemplateName};
use clap::Args;
use std::path::PathBuf;

/// `bmn eval`
#[derive(Args)]
#[command(long_about = "Ask a model what official evaluation files ask, and count what is right.\n\
    Files are read as their makers publish them, from folders named as the sets (bc5cdr, ncbi_disease, ..) in --corpora or in a\n\
    folder of it. What is not there is listed, not passed over. Prompts are those of the other verbs.")]
#[command(
    after_help = "Prints tables in Markdown; --out also keeps SET.jsonl (a line per item), SET.errors.jsonl, report.json, report.md and\n\
    report.html. Those files hold words of the corpora. Ctrl-C finishes the batch; the same command with --resume goes on.\n\
    Metrics and the format of a configuration: docs/evaluation.md.\n\n\
    Examples:\n  \
    bmn eval blurb --model M --corpora corpora --split dev --limit 100 --out runs/base\n  \
    bmn eval blurb --model M --adapter A --corpora corpora --split dev --limit 100 --out runs/tuned\n  \
    bmn eval --compare runs/base runs/tuned\n  \
    bmn eval blue --model M --corpora corpora --only ddi2013,hoc --shots 5 --template model\n  \
    bmn eval my-notes.toml --model M --corpora ."
)]
pub struct Eval {
    /// blue, blurb, or a configuration file of your own
    #[arg(value_name = "SUITE", required_unless_present = "compare")]
    pub suite: Option<String>,
    /// Put finished runs, folders of --out, side by side: differences from the first with paired intervals
    #[arg(long, value_name = "RUN", num_args = 2.., exclusive = true)]
    pub compare: Vec<PathBuf>,
    #[command(flatten)]
    pub model: Option<ModelArgs>,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Folder that the sets' folders are in, or in a folder of
    #[arg(long, value_name = "FOLDER", required_unless_present = "compare")]
    pub corpora: Option<PathBuf>,
    /// Split of the sets, as the configuration calls it
    #[arg(long, value_name = "NAME", default_value = "dev")]
    pub split: String,
    /// Only these sets
    #[arg(long, value_name = "SET,..", value_delimiter = ',')]
    pub only: Vec<String>,
    /// At most N documents (abstracts, sentences, questions: as the files have them) of each set, drawn by the suite's seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Show K worked examples before each question, of training documents where the files have some
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub shots: u8,
    /// Chat template [default: what bmn.json beside adapter or model says, else zephyr]
    #[arg(long, value_enum)]
    pub template: Option<TemplateName>,
    /// Keep answers and reports in FOLDER
    #[arg(long, short, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Go on with the run in --out: only what it does not hold is asked
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Items computed together; changes speed and memory, never results
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// Print the report as one JSON object instead
    #[arg(long)]
    pub json: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

//! The command line: verbs, flags and their help.

// Named by its path, so that a fuzz target may take in this file by its own.
#[path = "args/bench.rs"]
mod bench;
#[path = "args/data.rs"]
mod data;
#[path = "args/eval.rs"]
mod eval;

use biomistral_nlu::device::{DeviceChoice, WeightStorage};
use biomistral_nlu::task::Template;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

pub use bench::{Bench, BenchKernel, BenchPart, Doctor};
pub use data::{Convert, DataCommand};
pub use eval::Eval;

/// `bmn VERB ...`
#[derive(Parser)]
#[command(name = "bmn", version, about = "Verbatim spans and exact choice probabilities from medical text.")]
#[command(
    long_about = "Verbatim spans and exact choice probabilities from medical text, by a Mistral model on this machine.\n\
    Nothing is sent anywhere. Results are JSON lines on stdout, one per document, in input order."
)]
#[command(
    after_help = "Exit codes: 0 all done, 1 failure, 2 wrong usage, 3 some documents failed, 130 interrupted.\n\n\
    Examples:\n  \
    bmn extract --model M --labels Drug,Problem note.txt\n  \
    bmn classify --model M --question 'Smoking status?' --options current,past,never notes.jsonl\n  \
    bmn extract --model M --labels Drug --out out.jsonl --resume notes.jsonl\n  \
    bmn view out.jsonl --input notes.jsonl --out page.html"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Subcommand)]
pub enum Command {
    /// Named entities: verbatim spans for each label
    Extract(Extract),
    /// Events: trigger spans, then their arguments
    Events(Events),
    /// Classify documents: one option of several, or any number of them
    Classify(Classify),
    /// Relations between entities, given or extracted first
    Relate(Relate),
    /// Multiple-choice questions, with or without a context
    Answer(Answer),
    /// Inference: does the premise entail the hypothesis?
    Entail(Entail),
    /// Similarity of two texts as an expected score
    Similar(Similar),
    /// Show results as a self-contained HTML page or in the terminal
    View(View),
    /// Fine-tune a model: LoRA adapters or all weights
    Train(Train),
    /// Read corpora, check them, make training records of them
    #[command(subcommand)]
    Data(DataCommand),
    /// Ask a model what official evaluation files ask, and count what is right
    Eval(Eval),
    /// Annotated documents from one format to another
    Convert(Convert),
    /// Merge fine-tuned models and LoRA adapters, with DARE masking
    Merge(Merge),
    /// Look at, check, convert or generate model files
    #[command(subcommand)]
    Model(ModelCommand),
    /// Log-probabilities of the next token, for checks against other implementations
    Logits(Logits),
    /// Token ids of texts, no special tokens added
    Tokenize(Tokenize),
    /// What this machine offers and which code paths will run
    Doctor(Doctor),
    /// Measure prompt and decode speed of a model here
    Bench(Bench),
}

/// Model and device.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// Model folder (config.json, *.safetensors, tokenizer) or .gguf file
    #[arg(long, short, value_name = "PATH", help_heading = "Model")]
    pub model: PathBuf,
    /// PEFT LoRA folder applied on top of the model, or the name of one that came along: demo
    #[arg(long, value_name = "FOLDER|NAME", value_parser = crate::adapters::folder, help_heading = "Model")]
    pub adapter: Option<PathBuf>,
    /// Add the adapter into the weights while loading instead of applying it beside them
    #[arg(long, requires = "adapter", help_heading = "Model")]
    pub merge: bool,
    /// Where to compute: cpu, cuda:N, or auto (cuda:0 where it can be used and the model fits, else cpu)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Model")]
    pub device: DeviceChoice,
    /// Longest context in tokens that a GPU's memory is set aside for [default: the model's]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub context: Option<usize>,
    /// How a GPU stores weights: bf16, or int8 (half the memory, other results)
    #[arg(long, value_name = "STORAGE", default_value = "bf16", help_heading = "Model")]
    pub weights: WeightStorage,
    /// Overwrite a GPU's memory that held texts before giving it back
    #[arg(long, help_heading = "Model")]
    pub wipe: bool,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Model")]
    pub threads: Option<u16>,
}

/// Documents in, results out.
#[derive(Args, Clone)]
pub struct Run {
    /// Text files, JSON lines, or - for stdin
    #[arg(value_name = "IN", default_value = "-")]
    pub inputs: Vec<PathBuf>,
    /// How inputs are read; auto: by file name, else by the first character
    #[arg(long, value_enum, default_value_t = Format::Auto, help_heading = "Documents")]
    pub format: Format,
    /// Write results to FILE instead of stdout
    #[arg(long, short, value_name = "FILE", help_heading = "Documents")]
    pub out: Option<PathBuf>,
    /// Write failed documents to FILE instead of among the results
    #[arg(long, value_name = "FILE", help_heading = "Documents")]
    pub errors: Option<PathBuf>,
    /// Continue --out FILE: skip the documents it holds already
    #[arg(long, requires = "out", help_heading = "Documents")]
    pub resume: bool,
    /// Replace an existing --out FILE
    #[arg(long, requires = "out", conflicts_with = "resume", help_heading = "Documents")]
    pub force: bool,
    /// Documents computed together; changes speed and memory, never results
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Documents")]
    pub batch: u16,
    /// Unit of offsets in and out
    #[arg(long, value_enum, default_value_t = Unit::Codepoint, help_heading = "Documents")]
    pub unit: Unit,
    /// Read texts that do not fit in overlapping windows of N tokens (0: as long as fits) instead of failing
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "0", help_heading = "Documents")]
    pub window: Option<usize>,
    /// Chat template [default: what bmn.json beside adapter or model says, else zephyr]
    #[arg(long, value_enum, help_heading = "Documents")]
    pub template: Option<TemplateName>,
    /// JSON file with labels, classes, events and relations, see docs/cli.md
    #[arg(long, value_name = "FILE", help_heading = "Documents")]
    pub schema: Option<PathBuf>,
    /// Add the exact prompt, its token ids and those of the candidates to each result
    #[arg(long, help_heading = "Documents")]
    pub show_prompt: bool,
    /// Add the document's texts to each result, so that `bmn view` needs no --input
    #[arg(long, help_heading = "Documents")]
    pub with_text: bool,
    /// No progress display
    #[arg(long, short, help_heading = "Documents")]
    pub quiet: bool,
}

/// Input formats.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// .txt is text, .jsonl, .ndjson and .json are JSON lines, anything else goes by its first character
    Auto,
    /// One document per file
    Text,
    /// One JSON object per line
    Jsonl,
}

/// Units of offsets.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// UTF-8 bytes (Rust, C)
    Byte,
    /// Unicode code points (Python)
    Codepoint,
    /// UTF-16 code units (Java, JavaScript, C#)
    Utf16,
}

/// Chat templates.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TemplateName {
    /// The Zephyr-style one of BioMistral-NLU
    Zephyr,
    /// The one that comes with the model
    Model,
}

impl From<TemplateName> for Template {
    fn from(name: TemplateName) -> Self {
        match name {
            TemplateName::Zephyr => Template::Zephyr,
            TemplateName::Model => Template::Model,
        }
    }
}

/// Rules for spans, kept while decoding.
#[derive(Args, Clone)]
pub struct SpanArgs {
    /// Spans may begin and end inside words
    #[arg(long, help_heading = "Spans")]
    pub inside_words: bool,
    /// Longest span in words [default: any]
    #[arg(long, value_name = "N", help_heading = "Spans")]
    pub max_words: Option<usize>,
    /// Most spans per label [default: 64]
    #[arg(long, value_name = "N", help_heading = "Spans")]
    pub max_spans: Option<usize>,
    /// Spans of one label do not overlap
    #[arg(long, help_heading = "Spans")]
    pub no_overlap: bool,
}

/// How options are scored.
#[derive(Args, Clone)]
pub struct ChoiceArgs {
    /// Score only the letters, not the whole options
    #[arg(long, help_heading = "Choices")]
    pub letters: bool,
    /// Average over N rotations of the options' order
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Choices")]
    pub permute: usize,
    /// Subtract what the model says without a text
    #[arg(long, help_heading = "Choices")]
    pub calibrate: bool,
}

/// `bmn extract`
#[derive(Args)]
#[command(after_help = "Input lines: {\"id\", \"text\"} and optionally \"labels\".\n\
    Example: bmn extract --model M --labels Drug,Problem --unit utf16 notes.jsonl > spans.jsonl")]
pub struct Extract {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// Entity labels, in the order they are asked for
    #[arg(long, value_name = "L1,L2", value_delimiter = ',')]
    pub labels: Vec<String>,
    #[command(flatten)]
    pub spans: SpanArgs,
}

/// `bmn events`
#[derive(Args)]
#[command(
    after_help = "Input lines: {\"id\", \"text\"}. Event types and their arguments come from --schema, see docs/cli.md.\n\
    Example: bmn events --model M --schema events.json notes.jsonl"
)]
pub struct Events {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub spans: SpanArgs,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Every place where a span's text stands counts, not the first alone
    #[arg(long, help_heading = "Spans")]
    pub all_mentions: bool,
}

/// `bmn classify`
#[derive(Args)]
#[command(after_help = "Input lines: {\"id\", \"text\"} and optionally \"question\", \"options\".\n\
    Example: bmn classify --model M --question 'Smoking status?' --options current,past,never notes.jsonl")]
pub struct Classify {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// What is asked about each document
    #[arg(long)]
    pub question: Option<String>,
    /// The options to choose from
    #[arg(long, value_name = "O1,O2", value_delimiter = ',')]
    pub options: Vec<String>,
    /// Any number of options may hold
    #[arg(long)]
    pub multi: bool,
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// `bmn relate`
#[derive(Args)]
#[command(
    after_help = "Input lines: {\"id\", \"text\"} and optionally \"entities\": [{\"label\", \"start\", \"end\"}] in --unit.\n\
    Without entities, --labels are extracted first.\n\
    Example: bmn relate --model M --labels Drug,Problem --relations 'treats=Drug>Problem,causes=Drug>Problem' notes.jsonl"
)]
pub struct Relate {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// Labels to extract first where a document names no entities
    #[arg(long, value_name = "L1,L2", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// The relations to choose from, NAME or NAME=HEAD>TAIL; | between several labels of a side
    #[arg(long, value_name = "R1,R2", value_delimiter = ',')]
    pub relations: Vec<String>,
    /// Only pairs within one sentence
    #[arg(long)]
    pub same_sentence: bool,
    #[command(flatten)]
    pub spans: SpanArgs,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Every place where a span's text stands counts, not the first alone
    #[arg(long, help_heading = "Spans")]
    pub all_mentions: bool,
}

/// `bmn answer`
#[derive(Args)]
#[command(
    after_help = "Input lines: {\"id\", \"question\", \"options\": [..]} and optionally \"text\", the context.\n\
    Example: bmn answer --model M questions.jsonl"
)]
pub struct Answer {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// The question, where a line has none
    #[arg(long)]
    pub question: Option<String>,
    /// The options, where a line has none
    #[arg(long, value_name = "O1,O2", value_delimiter = ',')]
    pub options: Vec<String>,
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// `bmn entail`
#[derive(Args)]
#[command(
    after_help = "Input lines: {\"id\", \"premise\", \"hypothesis\"}.\nExample: bmn entail --model M pairs.jsonl"
)]
pub struct Entail {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// The options [default: entailment,neutral,contradiction]
    #[arg(long, value_name = "O1,O2", value_delimiter = ',')]
    pub options: Vec<String>,
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// `bmn similar`
#[derive(Args)]
#[command(
    after_help = "Input lines: {\"id\", \"text\", \"text2\"}.\nExample: bmn similar --model M --scores 0-4 pairs.jsonl"
)]
pub struct Similar {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub run: Run,
    /// Lowest and highest integer score
    #[arg(long, value_name = "LOW-HIGH", default_value = "0-5")]
    pub scores: String,
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// `bmn view`
#[derive(Args)]
#[command(after_help = "The page needs no network and no JavaScript, and everything in it is escaped.\n\
    Example: bmn view spans.jsonl --input notes.jsonl --banner --out page.html")]
pub struct View {
    /// Result lines of any verb
    #[arg(value_name = "RESULTS", required = true)]
    pub results: Vec<PathBuf>,
    /// The documents the results are about, where the results were made without --with-text
    #[arg(long, value_name = "IN")]
    pub input: Vec<PathBuf>,
    /// Write to FILE instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print for reading in a terminal instead of HTML
    #[arg(long, conflicts_with_all = ["banner", "title"])]
    pub terminal: bool,
    /// Head line of the page
    #[arg(long, default_value = "biomistral-nlu results")]
    pub title: String,
    /// A line under the title, such as how the results were made
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// A warning over the page
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "Contains patient text. Handle as a medical record.")]
    pub banner: Option<String>,
}

/// `bmn model ...`
#[derive(Subcommand)]
pub enum ModelCommand {
    /// Architecture, sizes, tokenizer and identity of a model
    Info {
        /// Model folder or .gguf file
        model: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every tensor and print SHA-256 of every file; against a list when given
    Verify {
        /// Model folder or .gguf file
        model: PathBuf,
        /// Lines as sha256sum prints them
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Write a model as a folder of bf16 safetensors
    Convert {
        /// Model folder or .gguf file
        model: PathBuf,
        /// Folder to create
        out: PathBuf,
    },
    /// Write a model of random bf16 weights, for measuring
    Random {
        /// Folder to create
        out: PathBuf,
        /// Shape: 7b, tiny, or a config.json
        #[arg(long, value_name = "SHAPE", default_value = "7b")]
        shape: String,
        /// Seed of the weights
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// `bmn logits`
#[derive(Args)]
#[command(after_help = "One JSON line per position: {\"position\", \"top\": [[id, logprob], ..], \"next_logprob\"},\n\
    natural log over the full vocabulary; next_logprob is that of the id that follows, null at the end.\n\
    Example: bmn logits --model M --ids 1,415,5679 --top 5")]
pub struct Logits {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Token ids
    #[arg(long, value_name = "1,2,3", value_delimiter = ',', required = true)]
    pub ids: Vec<u32>,
    /// How many of the most likely next ids to list
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top: usize,
    /// Write all log-probabilities, [positions, vocabulary] f32, to a .npy file, or rows to a .json file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `bmn tokenize`
#[derive(Args)]
#[command(
    after_help = "One JSON line per document: {\"id\", \"ids\"}.\nExample: bmn tokenize --model tokenizer.model note.txt"
)]
pub struct Tokenize {
    /// Model folder, .gguf file, tokenizer.json or tokenizer.model
    #[arg(long, short, value_name = "PATH")]
    pub model: PathBuf,
    /// Text files, JSON lines, or - for stdin
    #[arg(value_name = "IN", default_value = "-")]
    pub inputs: Vec<PathBuf>,
    /// How inputs are read; auto: by file name, else by the first character
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
}

/// `bmn train`
#[derive(Args)]
#[command(
    after_help = "Prints the folder of the adapter or model when done. Ctrl-C finishes the step and saves; --resume goes on,\n\
    to the same bits. Beside the result: metrics.jsonl, report.html, checkpoints/.\n\
    The configuration file is described in docs/training.md.\n\
    Example: bmn train --config lora.toml"
)]
pub struct Train {
    /// Configuration, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Say what the run will need, and stop
    #[arg(long)]
    pub plan: bool,
    /// Go on from the last checkpoint in the output folder
    #[arg(long, conflicts_with = "plan")]
    pub resume: bool,
    /// Where to compute, whatever the configuration says: cpu, cuda:N or auto
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bmn merge`
#[derive(Args)]
#[command(
    long_about = "Merge fine-tuned models and LoRA adapters into a model: base + sum of weight * mask(difference) / (1 - drop).\n\
    The difference of a model is that from the base, of an adapter its update; all in f32, rounded once to bf16.\n\
    Without --drop and with one adapter this is plain LoRA merging; --subtract takes it out again, up to rounding.\n\
    Streams tensor by tensor; the output folder appears whole or not at all, with merge.json saying what it was made of."
)]
#[command(
    after_help = "Prints the folder. Masks follow from the seed, the source's number, the tensor and the element alone.\n\n\
    Examples:\n  \
    bmn merge --base M --adapter runs/first/adapter --out merged          # plain LoRA\n  \
    bmn merge --base merged --adapter runs/first/adapter --subtract --out back\n  \
    bmn merge --base M --adapter a --adapter b --as-adapter --out ab      # the mean of two adapters\n  \
    bmn merge --base M --model M --model tuned --drop 0.2 --out dare      # as the reference system: M + 0.5 mask(tuned - M)/0.8"
)]
pub struct Merge {
    /// Model that differences are taken from and added to: folder or .gguf file
    #[arg(long, value_name = "PATH")]
    pub base: PathBuf,
    /// Fine-tuned model of the same shape; any number; the base itself counts as one that changed nothing
    #[arg(long = "model", value_name = "PATH", required_unless_present = "adapters")]
    pub models: Vec<PathBuf>,
    /// PEFT LoRA folder, or the name of one that came along; any number
    #[arg(long = "adapter", value_name = "FOLDER|NAME", value_parser = crate::adapters::folder)]
    pub adapters: Vec<PathBuf>,
    /// Weight of each model, then of each adapter, in their order [default: one over their number]
    #[arg(long, value_name = "W,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub weights: Vec<f64>,
    /// Share of each difference that is dropped at random (DARE)
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub drop: f64,
    /// Keep what is not dropped as it is, instead of dividing it by 1 - P
    #[arg(long)]
    pub no_rescale: bool,
    /// Decides what is dropped
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Take the differences away instead of adding them
    #[arg(long)]
    pub subtract: bool,
    /// Write one PEFT adapter instead of a model; its rank is the sum of theirs
    #[arg(long, conflicts_with = "models")]
    pub as_adapter: bool,
    /// Folder to create
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

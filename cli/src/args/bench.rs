//! Arguments of `bmn doctor` and `bmn bench`.

use super::ModelArgs;
use biomistral_nlu::device::DeviceChoice;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `bmn doctor`
#[derive(Args)]
pub struct Doctor {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `bmn bench`
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:\n  bmn bench --model M --prompt 512 --decode 64 --json\n  \
    bmn bench kernel linear_add --shape T=8,N=4096,K=14336")]
pub struct Bench {
    /// A part of it alone
    #[command(subcommand)]
    pub part: Option<BenchPart>,
    #[command(flatten)]
    pub model: Option<ModelArgs>,
    /// Prompt tokens
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub prompt: usize,
    /// Tokens decoded after the prompt
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub decode: usize,
    /// Repetitions
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub repeat: usize,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Answer measurement names on stdin instead, as bench/run.py asks them
    #[arg(long, value_name = "WORKLOAD", hide = true)]
    pub serve: Option<PathBuf>,
}

/// `bmn bench ...`
#[derive(Subcommand)]
pub enum BenchPart {
    /// One operation of a CUDA device: checked against float64, then timed with a cold cache
    Kernel(BenchKernel),
}

/// `bmn bench kernel`
#[derive(Args)]
#[command(after_help = "NAME is embed, rms_norm, linear_add, gate_up, attention, head_all or head_lse.\n\
    Example: bmn bench kernel attention --shape T=1,S=4095,H=32,G=8,D=128")]
pub struct BenchKernel {
    /// The operation
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Sizes that are not the operation's own defaults, those of Mistral 7B
    #[arg(long, value_name = "T=1,N=4096", default_value = "")]
    pub shape: String,
    /// The CUDA device
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    pub device: DeviceChoice,
    /// Check only; what a virtual GPU takes says nothing
    #[arg(long)]
    pub verify: bool,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

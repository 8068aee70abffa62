//! `bmn`: the engine from the command line.

mod adapters;
mod args;
mod batch;
mod bench;
mod convert;
mod data;
mod doctor;
mod eval;
mod input;
mod logits;
mod merge;
mod model;
mod opening;
mod parquet;
mod progress;
mod results;
mod stop;
mod tasks;
mod tokenize;
mod train;
mod view;

use args::{Cli, Command};
use clap::Parser;
use std::io::{Write, stderr};
use std::process::ExitCode;
use stop::Result;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help goes to stdout with code 0, mistakes to stderr with code 2. A closed pipe is nobody's mistake.
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            let (code, message) = stop.report();
            if let Some(message) = message {
                let _ = writeln!(stderr(), "bmn: {message}");
            }
            code
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Extract(args) => tasks::run(tasks::ExtractTask::new(&args)?, &args.model, &args.run),
        Command::Events(args) => tasks::run(tasks::EventsTask::new(&args)?, &args.model, &args.run),
        Command::Classify(args) => tasks::run(tasks::ClassifyTask::new(&args)?, &args.model, &args.run),
        Command::Relate(args) => tasks::run(tasks::RelateTask::new(&args)?, &args.model, &args.run),
        Command::Answer(args) => tasks::run(tasks::AnswerTask::new(&args), &args.model, &args.run),
        Command::Entail(args) => tasks::run(tasks::EntailTask::new(&args), &args.model, &args.run),
        Command::Similar(args) => tasks::run(tasks::SimilarTask::new(&args)?, &args.model, &args.run),
        Command::View(args) => view::view(&args),
        Command::Train(args) => train::train(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Data(command) => data::data(&command),
        Command::Merge(args) => merge::merge(&args),
        Command::Model(command) => model::model(&command),
        Command::Logits(args) => logits::logits(&args),
        Command::Tokenize(args) => tokenize::tokenize(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Bench(args) => bench::bench(&args),
    }
}

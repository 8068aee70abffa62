//! A run: steps, validation, checkpoints, result.

use crate::answers::{self, Score};
use crate::checkpoint::{self, Facts};
use crate::config::{Config, Method};
use crate::data::{Data, Encoder, Example, passes};
use crate::guard::Guard;
use crate::learner::AnyLearner;
use crate::metrics::{self, Metrics};
use crate::plan::Plan;
use crate::{Error, Result, Schedule, report};
use biomistral_nlu::decode::{Decoder, DecoderOptions, Scores};
use biomistral_nlu::model::training::{Batch, StateValues, StepOptions};
use biomistral_nlu::random::mix;
use biomistral_nlu::weights::{Checkpoint, ModelTensor, copy_companions, write_adapter, write_model};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a run tells while it goes on.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step is done.
    Step {
        /// Its number, from 1, and how many there are.
        step: (u64, u64),
        /// Mean loss per token that counts.
        loss: f64,
        /// Learning rate.
        rate: f64,
        /// Tokens per second.
        speed: f64,
        /// Seconds left at the mean speed so far.
        left: f64,
        /// MiB resident.
        memory: Option<u64>,
    },
    /// The validation corpora have been measured.
    Validation {
        /// Steps done.
        step: u64,
        /// Mean loss per token that counts.
        loss: f64,
        /// Answers of the engine to records that ask for a choice or spans.
        answers: Score,
    },
    /// A checkpoint is on disk.
    Saved {
        /// Steps done.
        step: u64,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done; the adapter or model lies here.
    Done(PathBuf),
    /// Asked to stop: steps done, all saved.
    Stopped(u64),
}

/// A run, ready to start.
pub struct Trainer {
    config: Config,
    plan: Plan,
    data: Data,
    encoder: Encoder,
    validation: Data,
    learner: AnyLearner,
    origin: Vec<(String, String)>,
    base: Checkpoint,
    facts: Facts,
    metrics: Metrics,
}

/// Reads the examples of `config` and says what the run will need, without loading the weights.
pub fn plan(config: &Config) -> Result<Plan> {
    let data = Encoder::new(config)?.read(&config.train, config.seed, false)?;
    Plan::new(config, Checkpoint::open(&config.model)?.config(), &data)
}

impl Trainer {
    /// Reads data and model; with `resume`, goes on from the last checkpoint, if there is one.
    ///
    /// # Errors
    /// A record, model, configuration or checkpoint that cannot be used, by name; without `resume`, an output folder
    /// that has a run already; with it, a checkpoint of another configuration, model or data.
    pub fn new(config: Config, resume: bool) -> Result<Self> {
        let encoder = Encoder::new(&config)?;
        let data = encoder.read(&config.train, config.seed, false)?;
        let validation = encoder.read(&config.validation, config.seed, true)?;
        let labelled: usize = data.examples.iter().map(Example::labelled).sum();
        if labelled == 0 {
            return Err(Error::invalid("training: expected examples with tokens that count, found none"));
        }
        let base = Checkpoint::open(&config.model)?;
        let plan = Plan::new(&config, base.config(), &data)?;
        let checkpoints = config.output.join("checkpoints");
        let found = checkpoint::last(&checkpoints)?;
        if !resume && (found.is_some() || config.output.join("metrics.jsonl").exists()) {
            return Err(Error::invalid(format!(
                "{}: expected a folder without a run, found one; --resume goes on with it",
                config.output.display()
            )));
        }
        std::fs::create_dir_all(&config.output).map_err(|e| Error::io(&config.output, e))?;
        let mut learner = AnyLearner::open(&config, &base, &plan)?;
        let from = match &config.tuning.from {
            Some(folder) => {
                let adapter = base.adapter(folder)?;
                learner.begin(&adapter, folder)?;
                Some(adapter.id().to_owned())
            }
            None => None,
        };
        let origin = origin(&config, &encoder, &data, &base, &learner, from.as_deref())?;
        let mut facts = Facts {
            step: 0,
            origin: origin.clone(),
            losses: Vec::new(),
            tokens: 0,
            seconds: 0.0,
            state: String::new(),
        };
        if let Some((path, stored)) = found {
            for ((what, now), (_, then)) in origin.iter().zip(&stored.origin) {
                if now != then {
                    return Err(Error::invalid(format!(
                        "{}: made with {what} {then}, found {now}: a run goes on only as it began",
                        path.display()
                    )));
                }
            }
            learner.load(&path, &stored)?;
            facts = stored;
        }
        let metrics = Metrics::open(&config.output.join("metrics.jsonl"), facts.step)?;
        Ok(Trainer { config, plan, data, encoder, validation, learner, origin, base, facts, metrics })
    }

    /// What the run needs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.facts.step
    }

    /// Runs to the end, or until `tell` returns false: then the current step is saved.
    ///
    /// # Errors
    /// A loss that is no number or jumps; a full disk. Checkpoints stay as they are.
    pub fn run(&mut self, tell: &mut dyn FnMut(Event) -> bool) -> Result<Outcome> {
        let steps = self.plan.steps;
        let schedule = Schedule::new(&self.config.optimiser, steps);
        let (begun, first) = (Instant::now(), self.facts.step);
        let mut guard = Guard { losses: std::mem::take(&mut self.facts.losses) };
        let spent = self.facts.seconds;
        while self.facts.step < steps {
            let number = self.facts.step + 1;
            let start = Instant::now();
            let rate = schedule.rate(number);
            let (loss, tokens) = self.one_step(number, rate, &mut guard)?;
            self.facts.step = number;
            self.facts.tokens += tokens as u64;
            self.facts.seconds = spent + begun.elapsed().as_secs_f64();
            let speed = tokens as f64 / start.elapsed().as_secs_f64();
            let left = begun.elapsed().as_secs_f64() / (number - first) as f64 * (steps - number) as f64;
            let (step, memory) = ((number, steps), metrics::resident_mib());
            let mut go_on = tell(Event::Step { step, loss, rate, speed, left, memory });
            let RunPoint { validate, save } = self.point(number, steps);
            if validate {
                let (loss, answers) = self.validate()?;
                go_on &= tell(Event::Validation { step: number, loss, answers });
            }
            if save || !go_on {
                self.facts.losses = guard.losses.clone();
                self.learner.save(&self.config.output.join("checkpoints"), &mut self.facts)?;
                self.report()?;
                go_on &= tell(Event::Saved { step: number });
            }
            if !go_on && number < steps {
                return Ok(Outcome::Stopped(number));
            }
        }
        self.finish()
    }

    fn point(&self, number: u64, steps: u64) -> RunPoint {
        let every = |n: u64| n > 0 && number.is_multiple_of(n);
        let last = number == steps;
        let validate = !self.validation.examples.is_empty() && (last || every(self.config.run.validate_every));
        RunPoint { validate, save: last || every(self.config.run.save_every) }
    }

    /// Loss and number of tokens of a step.
    fn one_step(&mut self, number: u64, rate: f64, guard: &mut Guard) -> Result<(f64, usize)> {
        biomistral_nlu::reserve::check()?;
        let Config { seed, run, optimiser, .. } = &self.config;
        let chosen = self.data.batch(number, run.batch, *seed);
        let weight = |example: &Example| self.config.train[example.corpus].loss_weight;
        let mut batch: Vec<&Example> = chosen.iter().map(|&i| &self.data.examples[i]).collect();
        // A pass has one weight, so examples of one weight go together.
        batch.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        let labelled: usize = batch.iter().map(|example| example.labelled()).sum();
        let weighed: f64 = batch.iter().map(|example| weight(example) * example.labelled() as f64).sum();
        self.learner.clear_gradients()?;
        let (mut loss, mut pass) = (0.0, 0);
        for alike in batch.chunk_by(|a, b| weight(a) == weight(b)) {
            let lengths: Vec<usize> = alike.iter().map(|example| example.tokens.len()).collect();
            let share = alike.first().map_or(1.0, |example| weight(example)) / weighed;
            for range in passes(&lengths, run.pass_tokens) {
                let packed = Packed::new(&alike[range]);
                let key = mix(mix(mix(*seed ^ 0xd20b).wrapping_add(number)).wrapping_add(pass));
                let losses = self.learner.backward(&packed.batch(), share as f32, key)?;
                loss += share * losses.iter().sum::<f64>();
                pass += 1;
            }
        }
        let norm = self.learner.gradient_norm()?;
        let files: Vec<String> = self.config.train.iter().map(|corpus| corpus.file.display().to_string()).collect();
        guard.check(number, loss, norm, run.spike, &batch, &files)?;
        let scale = if optimiser.clip > 0.0 && norm > optimiser.clip { optimiser.clip / norm } else { 1.0 };
        let (beta, epsilon, decay) = (optimiser.beta, optimiser.epsilon, optimiser.decay);
        self.learner.step(&StepOptions { number, rate, beta, epsilon, decay, scale, seed: *seed })?;
        let tokens = batch.iter().map(|example| example.tokens.len()).sum();
        let epoch = (number - 1) / self.data.steps(run.batch).max(1) + 1;
        self.metrics.write(&json!({
            "step": number, "epoch": epoch, "loss": loss, "rate": rate, "norm": norm, "tokens": tokens,
            "counted": labelled, "memory_mib": metrics::resident_mib(),
        }))?;
        Ok((loss, tokens))
    }

    /// Mean loss of the validation corpora and scores of the engine's answers, all together; in the metrics also by group.
    fn validate(&mut self) -> Result<(f64, Score)> {
        let mut groups: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        let lengths: Vec<usize> = self.validation.examples.iter().map(|example| example.tokens.len()).collect();
        for range in passes(&lengths, self.config.run.pass_tokens) {
            let examples: Vec<&Example> = self.validation.examples[range].iter().collect();
            let losses = self.learner.losses(&Packed::new(&examples).batch())?;
            let mut losses = losses.into_iter();
            for example in examples {
                let sum = groups.entry(example.group.clone()).or_default();
                sum.0 += losses.by_ref().take(example.labelled()).sum::<f64>();
                sum.1 += example.labelled();
            }
        }
        let (sum, count) = groups.values().fold((0.0, 0), |all, group| (all.0 + group.0, all.1 + group.1));
        let loss = sum / count.max(1) as f64;
        let by_group: BTreeMap<&String, f64> =
            groups.iter().map(|(group, (sum, count))| (group, sum / (*count).max(1) as f64)).collect();
        let scores = self.answers()?;
        let all = scores.get("").copied().unwrap_or_default();
        let answers: BTreeMap<&String, serde_json::Value> =
            scores.iter().filter(|(group, _)| !group.is_empty()).map(|(group, score)| (group, score.json())).collect();
        self.metrics.write(&json!({
            "step": self.facts.step, "validation": loss, "groups": by_group, "accuracy": all.accuracy(), "f1": all.f1(),
            "answers": answers,
        }))?;
        Ok((loss, all))
    }

    /// Scores of the engine's answers with the weights as they are now.
    fn answers(&self) -> Result<BTreeMap<String, Score>> {
        let asked: Vec<&Example> = self.validation.examples.iter().filter(|e| e.question.is_some()).collect();
        let take = asked.len().min(self.config.run.answers);
        if take == 0 {
            return Ok(BTreeMap::new());
        }
        let model = self.learner.model();
        let chosen: Vec<&Example> = (0..take).map(|i| asked[i * asked.len() / take]).collect();
        let parts = self.learner.adapter()?;
        let adapter = if parts.is_empty() { None } else { Some(model.load_adapter(&parts)?) };
        let max_positions = self.config.answer_tokens(model.config());
        let options = DecoderOptions { max_positions, scores: Scores::None, ..DecoderOptions::new(model.config()) };
        let mut decoder = Decoder::new(model.clone().session()?, options);
        let (tokenizer, terminator) = self.encoder.decoding();
        let scores = answers::score(&mut decoder, tokenizer, terminator, adapter, &chosen);
        if let Some(adapter) = adapter {
            model.unload_adapter(adapter);
        }
        scores
    }

    /// Writes the report beside the metrics.
    fn report(&self) -> Result<()> {
        let path = self.config.output.join("report.html");
        let lines = metrics::read(&self.config.output.join("metrics.jsonl"))?;
        let page = report::html(&self.config, &self.plan, &self.origin, &lines);
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, page)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|e| Error::io(&path, e))
    }

    /// Writes the adapter or the model.
    fn finish(&mut self) -> Result<Outcome> {
        let model = self.config.model.display().to_string();
        let (config, options) = (self.base.config(), &self.config.tuning);
        match options.method {
            Method::Lora => {
                let folder = self.config.output.join("adapter");
                remove(&folder)?;
                let parts = self.learner.adapter()?;
                let (stabilised, id) = (options.rank_stabilised, self.base.base_id()?);
                write_adapter(&folder, config, &parts, options.alpha, stabilised, &model, id)?;
                Ok(Outcome::Done(folder))
            }
            Method::Full => {
                let folder = self.config.output.join("model");
                remove(&folder)?;
                let mut tensor = |name: &str| {
                    Ok(match self.learner.tensor(name)? {
                        StateValues::Full(values) => ModelTensor::Vector(values),
                        StateValues::Half(values) => ModelTensor::Matrix(values),
                    })
                };
                let mut rest = |folder: &Path| copy_companions(&self.config.model, folder);
                write_model(config, &folder, &mut |_, _| true, &mut tensor, &mut rest)?;
                Ok(Outcome::Done(folder))
            }
        }
    }
}

/// What is due after a step.
struct RunPoint {
    validate: bool,
    save: bool,
}

/// A result of this run that a kill left behind, whole or not: it is made again from the same state.
fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// Examples one after the other.
struct Packed {
    tokens: Vec<u32>,
    examples: Vec<Range<usize>>,
    labels: Vec<Option<u32>>,
}

impl Packed {
    fn new(examples: &[&Example]) -> Self {
        let mut packed = Packed { tokens: Vec::new(), examples: Vec::new(), labels: Vec::new() };
        for example in examples {
            let start = packed.tokens.len();
            packed.tokens.extend(&example.tokens);
            packed.examples.push(start..packed.tokens.len());
            packed.labels.extend(example.labels());
        }
        packed
    }

    fn batch(&self) -> Batch<'_> {
        Batch { tokens: &self.tokens, examples: &self.examples, labels: &self.labels }
    }
}

/// What decides the result, by name.
fn origin(
    config: &Config,
    encoder: &Encoder,
    data: &Data,
    base: &Checkpoint,
    learner: &AnyLearner,
    from: Option<&str>,
) -> Result<Vec<(String, String)>> {
    let json = |value: serde_json::Result<serde_json::Value>| {
        value.map(|value| value.to_string()).map_err(|e| Error::internal(e.to_string()))
    };
    let rates: Vec<(f64, f64)> = config.train.iter().map(|corpus| (corpus.rate, corpus.loss_weight)).collect();
    let data_options =
        format!("{} {:?} {:?} {:?} {rates:?}", config.max_tokens, config.too_long, config.labels, config.seed);
    let batch = (config.run.batch, config.run.epochs, config.run.pass_tokens);
    Ok([
        ("model", base.id()?),
        ("tokenizer and template", encoder.hash()),
        ("data", data.hash.clone()),
        ("data options", data_options),
        (
            "tuning",
            json(serde_json::to_value(&config.tuning))? + &from.map_or(String::new(), |id| format!(" from {id}")),
        ),
        ("optimiser", json(serde_json::to_value(&config.optimiser))?),
        ("batch, epochs and pass", format!("{batch:?}")),
        ("device", learner.fingerprint()),
    ]
    .map(|(what, value)| (what.to_string(), value))
    .to_vec())
}

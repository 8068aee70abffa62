//! A build: corpora read, compared with the evaluation sets, made into records, written into a folder.

use super::card::{Card, CorpusCard, TaskCard};
use super::config::{CorpusPlan, InstructConfig, RunPlan, TaskPlan};
use super::overlap::Held;
use super::record::{Asking, Checker, Dice, Draft};
use super::{attributes, choices, pairs, spans};
use crate::{Error, Result};
use biomistral_nlu::random::mix;
use biomistral_nlu::task::{Prompts, Wording};
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu_formats::corpora::{self, Corpus, Split};
use biomistral_nlu_formats::{Document, Mention, Pair, Problems, Question};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Validation records of a task: this share of its cap, at least one.
const VALIDATION_SHARE: usize = 20;

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The files of training records, in order of name.
    pub train: Vec<PathBuf>,
    /// The files of validation records.
    pub validation: Vec<PathBuf>,
    /// Its card; also in the folder as `card.json` and `card.md`.
    pub card: Card,
}

/// Builds into `out`, which must not exist: `train/CORPUS.TASK.jsonl`, `validation/CORPUS.TASK.jsonl`, the card and
/// `overlap.tsv`, the list of what was left out for the evaluation sets. `corpora` is the folder that the configuration's
/// folders are below, `tokenizer` the model or tokenizer file that lengths are counted with. `progress` is told each corpus.
///
/// # Errors
/// What reading the corpora says; [`Error::Invalid`] for an `out` that exists; [`Error::Format`] for a run on a task or corpus
/// that there is not.
pub fn build(
    config: &InstructConfig,
    corpora: &Path,
    tokenizer: &Path,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Built> {
    if out.exists() {
        return Err(Error::invalid(format!("{}: expected a folder that does not exist yet", out.display())));
    }
    if let Some(run) = &config.run {
        run.check(&config.corpus)?;
    }
    let checker = Checker::new(Tokenizer::open(tokenizer)?)?;
    let prompts = Prompts::built_in()?;
    let held = held(config, corpora, progress)?;
    let mut card = Card {
        seed: config.seed,
        max_tokens: config.max_tokens,
        phrasings: config.phrasings,
        remarks: config.remarks.clone(),
        prompts: prompts.hash().to_owned(),
        tokenizer: checker.tokenizer_hash().to_owned(),
        evaluation: config.evaluation.iter().map(|set| set.name.clone()).collect(),
        ..Card::default()
    };
    for part in ["train", "validation"] {
        let folder = out.join(part);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    }
    let mut overlaps = String::from("corpus\tid\treason\n");
    let mut hash = Sha256::new();
    let mut built = Built { train: Vec::new(), validation: Vec::new(), card: Card::default() };
    for plan in &config.corpus {
        progress(&plan.name);
        let corpus = read(plan.reader.as_ref().unwrap_or(&plan.name), &corpora.join(&plan.folder))?;
        let (items, mut about) = items(plan, corpus, &held, &mut overlaps);
        for task in &plan.task {
            let mut maker = Maker {
                prompts: &prompts,
                checker: &checker,
                config,
                sizes: &config.passages,
                corpus: &plan.name,
                task: task.name(),
                taken: [Vec::new(), Vec::new()],
                validation: false,
                seen: HashSet::new(),
                card: TaskCard { task: task.name().to_owned(), ..TaskCard::default() },
            };
            for (validation, split) in items.iter().enumerate() {
                maker.validation = validation == 1;
                make(&mut maker, task, split)?;
            }
            let file = format!("{}.{}.jsonl", plan.name, task.name());
            let [train, validation] = maker.finish(task.cap())?;
            for (part, lines, list) in
                [("train", train, &mut built.train), ("validation", validation, &mut built.validation)]
            {
                if !lines.is_empty() {
                    let path = out.join(part).join(&file);
                    hash.update(&lines);
                    std::fs::write(&path, lines).map_err(|e| Error::io(&path, e))?;
                    list.push(path);
                }
            }
            about.tasks.push(maker.card);
        }
        card.corpora.push(about);
    }
    card.hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string_pretty(&card).map_err(|e| Error::internal(format!("the card as JSON: {e}")))?;
    let mut files = vec![("card.json", json + "\n"), ("card.md", card.markdown()), ("overlap.tsv", overlaps)];
    if let Some(run) = &config.run {
        files.push(("train.toml", run_file(run, &card, tokenizer)?));
    }
    for (name, text) in files {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
    }
    built.card = card;
    Ok(built)
}

/// The configuration of a run on the records: the share of each task's records that makes the tokens it shall have.
fn run_file(run: &RunPlan, card: &Card, model: &Path) -> Result<String> {
    let model = std::fs::canonicalize(model).map_err(|e| Error::io(model, e))?;
    let mut table = run.train.clone();
    table.insert("model".to_owned(), model.display().to_string().into());
    let tasks = || card.corpora.iter().flat_map(|corpus| corpus.tasks.iter().map(move |task| (&corpus.name, task)));
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (corpus, task) in tasks() {
        let Some(share) = run.shares.get(&task.task) else { continue };
        let weight = |corpus: &str| run.weights.get(corpus).copied().unwrap_or(1.0);
        let weighed = |(corpus, task): (&String, &TaskCard)| weight(corpus) * task.tokens[0] as f64;
        let all: f64 = tasks().filter(|(_, other)| other.task == task.task).map(weighed).sum();
        let rate = (weight(corpus) * share * run.tokens as f64 / all.max(1.0)).min(1.0);
        let entry = |part: &str, rate: f64| {
            let mut entry = toml::Table::new();
            entry.insert("file".to_owned(), format!("{part}/{corpus}.{}.jsonl", task.task).into());
            // Four digits say it well enough, and never nothing.
            entry.insert("rate".to_owned(), ((rate * 1e4).ceil() / 1e4).into());
            if let Some(&weight) = run.loss_weights.get(&task.task).filter(|_| part == "train") {
                entry.insert("loss_weight".to_owned(), weight.into());
            }
            toml::Value::Table(entry)
        };
        if task.records[0] > 0 {
            train.push(entry("train", rate));
        }
        if task.records[1] > 0 {
            validation.push(entry("validation", rate));
        }
    }
    table.insert("train".to_owned(), train.into());
    table.insert("validation".to_owned(), validation.into());
    toml::to_string(&table).map_err(|e| Error::internal(format!("a run's configuration as TOML: {e}")))
}

fn read(name: &str, folder: &Path) -> Result<Corpus> {
    corpora::read(name, folder).map_err(|e| Error::format(name, e.to_string()))
}

/// The evaluation sets' ids and runs of words.
fn held(config: &InstructConfig, corpora: &Path, progress: &mut dyn FnMut(&str)) -> Result<Held> {
    let mut held = Held::default();
    if let Some(list) = &config.exclusions {
        let path = corpora.join(list);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let name = path.display().to_string();
        let lists: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|e| Error::format(&name, format!("expected lists of ids: {e}")))?;
        for (corpus, ids) in lists {
            let ids = ids.as_array().into_iter().flatten();
            held.list(&corpus, ids.filter_map(|id| id.as_str().map(str::to_owned)));
        }
    }
    for set in &config.evaluation {
        progress(&set.name);
        held.begin(&set.name);
        for split in read(set.reader.as_ref().unwrap_or(&set.name), &corpora.join(&set.folder))?.splits {
            for document in &split.documents {
                held.id(document.origin());
                held.text(&document.text);
            }
            for pair in &split.pairs {
                held.text(&pair.first);
                held.text(&pair.second);
            }
            for question in &split.questions {
                held.id(question.source.as_deref().unwrap_or_default());
                held.text(&question.question);
                held.text(question.context.as_deref().unwrap_or_default());
            }
        }
    }
    Ok(held)
}

/// What of a corpus may be used, for training and for validation.
fn items(plan: &CorpusPlan, corpus: Corpus, held: &Held, overlaps: &mut String) -> ([Split; 2], CorpusCard) {
    let mut about = CorpusCard { name: plan.name.clone(), licence: plan.licence.clone(), ..CorpusCard::default() };
    about.problems = problems(&corpus.problems);
    let names = [plan.name.as_str(), plan.reader.as_ref().unwrap_or(&plan.name)];
    let mut items = [Split::default(), Split::default()];
    for split in corpus.splits.into_iter().filter(|split| !plan.without.contains(&split.name)) {
        let into = &mut items[usize::from(plan.validation.contains(&split.name))];
        about.read += split.documents.len() + split.pairs.len() + split.questions.len();
        let mut fine = |id: &str, source: &str, texts: &[&str]| {
            let found = held.find(names, source, texts.iter().copied());
            if let Some(overlap) = &found {
                *about.overlap.entry(overlap.reason()).or_default() += 1;
                let _ = writeln!(overlaps, "{}\t{id}\t{}", plan.name, overlap.reason());
            }
            found.is_none()
        };
        let documents = split.documents.into_iter();
        into.documents.extend(documents.filter(|one| fine(&one.id, one.origin(), &[&one.text])));
        let pairs = split.pairs.into_iter();
        into.pairs.extend(
            pairs.filter(|one| fine(&one.id, one.source.as_deref().unwrap_or_default(), &[&one.first, &one.second])),
        );
        into.questions.extend(split.questions.into_iter().filter(|one| {
            let context = one.context.as_deref().unwrap_or_default();
            fine(&one.id, one.source.as_deref().unwrap_or_default(), &[&one.question, context])
        }));
    }
    (items, about)
}

fn problems(problems: &Problems) -> BTreeMap<String, usize> {
    problems.counts().into_iter().map(|(trouble, count)| (trouble.name().to_owned(), count)).collect()
}

/// The records of one task of one corpus.
pub(crate) struct Maker<'b> {
    pub prompts: &'b Prompts,
    checker: &'b Checker,
    config: &'b InstructConfig,
    pub sizes: &'b [usize],
    corpus: &'b str,
    task: &'static str,
    /// For training and validation: lines with tokens of prompt and answer.
    taken: [Vec<(String, usize, usize)>; 2],
    validation: bool,
    seen: HashSet<u64>,
    card: TaskCard,
}

impl Maker<'_> {
    /// Random numbers for one thing of one document.
    pub fn dice(&self, id: &str, what: &str) -> Dice {
        Dice::new(self.config.seed, &format!("{}\n{}\n{id}\n{what}", self.corpus, self.task))
    }

    /// The instruction of the record `id`, in a wording that its id decides.
    pub fn asking(&self, id: &str, wording: Wording) -> Asking<'_> {
        let wordings = self.config.phrasings.min(self.prompts.phrasings(wording));
        Asking { prompts: self.prompts, wording, phrasing: self.dice(id, "phrasing").below(wordings) }
    }

    /// Counts something left out.
    pub fn count(&mut self, reason: &str) {
        *self.card.dropped.entry(reason.to_owned()).or_default() += 1;
    }

    /// Takes a record that is not too long, can be answered, and was not taken before.
    pub fn take(&mut self, draft: Draft) -> Result<()> {
        let key = draft.message.bytes().fold(mix(draft.message.len() as u64), |key, byte| mix(key ^ u64::from(byte)));
        if !self.seen.insert(key) {
            self.count("the same question twice");
            return Ok(());
        }
        let Some((prompt, answer)) = self.checker.count(&draft)? else {
            self.count("an answer that decoding cannot give (a span inside a word, or with a line break)");
            return Ok(());
        };
        if prompt + answer > self.config.max_tokens {
            self.count("too long");
            return Ok(());
        }
        let line = draft.line(self.task, self.corpus)?;
        self.taken[usize::from(self.validation)].push((line, prompt, answer));
        Ok(())
    }

    /// The files: at most `cap` records drawn at random, in random order.
    fn finish(&mut self, cap: usize) -> Result<[String; 2]> {
        let mut files = [String::new(), String::new()];
        for (part, most) in [(0, cap), (1, (cap / VALIDATION_SHARE).max(1))] {
            let mut taken = std::mem::take(&mut self.taken[part]);
            self.dice("", if part == 0 { "train" } else { "validation" }).shuffle(&mut taken);
            if part == 0 {
                self.card.beyond = taken.len().saturating_sub(most);
            }
            taken.truncate(most);
            self.card.records[part] = taken.len();
            if part == 0 {
                self.card.tokens = [
                    taken.iter().map(|(_, prompt, answer)| prompt + answer).sum(),
                    taken.iter().map(|(.., answer)| answer).sum(),
                ];
                self.card.lengths_of(taken.iter().map(|(_, prompt, answer)| prompt + answer).collect());
            }
            for (line, ..) in taken {
                files[part].push_str(&line);
                files[part].push('\n');
            }
        }
        Ok(files)
    }
}

fn make(maker: &mut Maker<'_>, task: &TaskPlan, split: &Split) -> Result<()> {
    match task {
        TaskPlan::Extract { labels, most, empty, .. } => split.documents.iter().try_for_each(|document| {
            let mentions: Vec<(&str, &Mention)> = document.mentions.iter().map(|m| (m.label.as_str(), m)).collect();
            spans::extract(maker, document, Wording::Extract, labels, *most, *empty, &mentions)
        }),
        TaskPlan::Pick { labels, .. } => {
            let known = |document: &Document| -> Vec<String> {
                let asked = document.mentions.iter().filter(|mention| labels.contains_key(&mention.label));
                asked.map(|mention| mention.text(&document.text).into_owned()).collect()
            };
            let elsewhere: Vec<String> = split.documents.iter().flat_map(known).collect();
            each(&split.documents, |document| choices::pick(maker, document, labels, &elsewhere))
        }
        TaskPlan::Trigger { labels, most, empty, .. } => split.documents.iter().try_for_each(|document| {
            let trigger =
                |event: &biomistral_nlu_formats::Event| document.mentions.iter().position(|m| m.id == event.trigger);
            let triggers = document
                .events
                .iter()
                .filter_map(|event| trigger(event).map(|at| (event.label.as_str(), &document.mentions[at])));
            let triggers: Vec<(&str, &Mention)> = triggers.collect();
            spans::extract(maker, document, Wording::Trigger, labels, *most, *empty, &triggers)
        }),
        TaskPlan::Argument { events, roles, .. } => {
            each(&split.documents, |document| spans::arguments(maker, document, events, roles))
        }
        TaskPlan::Attribute { events, attributes, .. } => {
            each(&split.documents, |document| attributes::attributes(maker, document, events, attributes))
        }
        TaskPlan::Relate { labels, relations, negatives, closed, .. } => {
            let plan = pairs::Plan { labels, relations, negatives: *negatives, closed: *closed };
            each(&split.documents, |document: &Document| pairs::relate(maker, document, &plan))
        }
        TaskPlan::Classify { question, classes, options, multi, applies, questions, of, .. } => {
            each(&split.documents, |document| {
                each(&choices::texts(maker, document, *of), |text| match multi {
                    false => choices::classify(maker, text, question.as_deref(), classes, *options),
                    true => choices::classify_multi(maker, text, question.as_deref(), classes, (*applies, *questions)),
                })
            })
        }
        TaskPlan::Answer { question: Some(question), labels, keep, .. } => {
            each(&split.pairs, |pair: &Pair| choices::answer_pair(maker, pair, question, labels, keep))
        }
        TaskPlan::Answer { .. } => each(&split.questions, |question: &Question| choices::answer(maker, question)),
        TaskPlan::Entail { labels, .. } => each(&split.pairs, |pair: &Pair| choices::entail(maker, pair, labels)),
        TaskPlan::Similar { scale, high, .. } => {
            each(&split.pairs, |pair: &Pair| choices::similar(maker, pair, *scale, high))
        }
    }
}

fn each<T>(items: &[T], work: impl FnMut(&T) -> Result<()>) -> Result<()> {
    items.iter().try_for_each(work)
}

//! `bmn eval`: a benchmark's files, the engine's answers, figures.

mod folder;

use crate::args::{ChoiceArgs, Eval, ModelArgs};
use crate::batch::interrupt_flag;
use crate::progress::Progress;
use crate::stop::{Result, Stop};
use crate::tasks::{ADAPTER, choice_rules, open};
use biomistral_nlu::task::{AnswerRequest, Engine, Provenance, Question, RunOptions, Session, Template};
use biomistral_nlu_eval::report::{self, Report, Without};
use biomistral_nlu_eval::{
    BUILT_IN, Comparison, Item, Line, Loaded, SetPlan, Setting, Suite, ask, compare, figures, load, shots,
};
use folder::{Folder, Identity};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `bmn eval`.
pub fn eval(args: &Eval) -> Result<()> {
    match (&args.suite, &args.corpora, &args.model) {
        (Some(suite), Some(corpora), Some(model)) => run(args, suite, corpora, model),
        _ if !args.compare.is_empty() => side_by_side(args),
        _ => Err(Stop::usage("expected SUITE, --model and --corpora, or --compare")),
    }
}

fn suite(name: &str, only: &[String]) -> Result<Suite> {
    let mut suite = match BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((known, text)) => Suite::parse(known, text)?,
        None if Path::new(name).is_file() => Suite::read(Path::new(name))?,
        None => return Err(Stop::usage(format!("{name}: expected blue, blurb or a configuration file"))),
    };
    if let Some(unknown) = only.iter().find(|only| suite.set.iter().all(|set| set.name != **only)) {
        let known: Vec<&str> = suite.set.iter().map(|set| set.name.as_str()).collect();
        return Err(Stop::usage(format!("--only: expected sets of {}, found {unknown}", known.join(", "))));
    }
    if !only.is_empty() {
        suite.set.retain(|set| only.contains(&set.name));
        suite.absent.clear();
    }
    Ok(suite)
}

/// A set on its way: what is asked, and the lines that are there.
struct Ready<'s> {
    plan: &'s SetPlan,
    loaded: Loaded,
    lines: Vec<Line>,
}

fn run(args: &Eval, name: &str, corpora: &Path, model: &ModelArgs) -> Result<()> {
    let suite = suite(name, &args.only)?;
    let mut absent: Vec<Without> = suite.absent.iter().map(Without::from).collect();
    let mut sets = Vec::new();
    for plan in &suite.set {
        let limit = args.limit.map(|limit| limit as usize);
        match load(plan, corpora, &args.split, limit, args.shots > 0, suite.seed) {
            Ok(loaded) => sets.push(Ready { plan, loaded, lines: Vec::new() }),
            Err(e) => absent.push(Without { name: plan.name.clone(), why: e.to_string() }),
        }
    }
    if sets.is_empty() {
        let why: Vec<String> = absent.iter().map(|without| format!("\n  {}: {}", without.name, without.why)).collect();
        return Err(Stop::failed(format!("nothing to evaluate{}", why.concat())));
    }
    let engine = open(model, args.template, args.quiet)?;
    let mut session = engine.session()?;
    let options = RunOptions {
        adapter: model.adapter.as_ref().filter(|_| !model.merge).map(|_| ADAPTER.to_owned()),
        template: args.template.map(Template::from),
        batch: usize::from(args.batch),
        ..RunOptions::default()
    };
    let identity = identity(args, model, &suite, provenance(&mut session, &options)?);
    let out = args.out.as_ref().map(|out| Folder::open(out, &identity, args.resume)).transpose()?;
    let interrupted = interrupt_flag()?;
    let total = sets.iter().map(|set| set.loaded.items.len() as u64).sum();
    let progress = Progress::new(Some(total), args.quiet);
    let mut asking = Asking { session, options, out, interrupted, progress, done: 0, failed: 0 };
    let outcome: Result<()> = sets.iter_mut().try_for_each(|set| {
        asking.set(set, &engine, args)?;
        if !args.quiet {
            let (figures, _) = figures(set.plan, &set.lines, suite.seed);
            let value = figures.headline().map_or("not defined".to_owned(), |value| format!("{value:.3}"));
            let items = set.lines.len();
            asking.say(&format!("{}: {} {value}, {items} items", set.plan.name, set.plan.metric.name()));
        }
        Ok(())
    });
    asking.progress.finish();
    outcome?;
    finish(args, &suite, identity.shown(), sets, absent, asking.out)
}

/// What every answer depends on, asked of a question of no consequence.
fn provenance(session: &mut Session, options: &RunOptions<'_>) -> Result<Provenance> {
    let question =
        Question { question: Some("?".to_owned()), options: vec!["a".into(), "b".into()], ..Default::default() };
    let answer = session.answer(&[question], &AnswerRequest::default(), options)?.pop();
    Ok(answer.ok_or_else(|| Stop::failed("the engine gave no answer"))??.provenance)
}

fn identity(args: &Eval, model: &ModelArgs, suite: &Suite, provenance: Provenance) -> Identity {
    let file = |path: &Path| path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut run = BTreeMap::from([
        ("split".to_owned(), args.split.clone()),
        ("examples shown".to_owned(), args.shots.to_string()),
        ("documents of a set".to_owned(), args.limit.map_or("all".to_owned(), |limit| format!("at most {limit}"))),
        ("seed".to_owned(), suite.seed.to_string()),
        ("model".to_owned(), format!("{} ({})", file(&model.model), provenance.weights)),
        ("template".to_owned(), provenance.template),
        ("engine".to_owned(), format!("{}, {}", provenance.engine, provenance.fingerprint)),
        ("prompts and template".to_owned(), provenance.prompts),
    ]);
    let ChoiceArgs { letters, permute, calibrate } = args.choice;
    let scored = if letters { "their letters" } else { "whole" };
    let free = if calibrate { ", less what is said without a text" } else { "" };
    run.insert("options of a choice".to_owned(), format!("{scored}, in {permute} orders{free}"));
    if let Some(adapter) = &model.adapter {
        let id = provenance.adapter.unwrap_or_else(|| "merged".to_owned());
        run.insert("adapter".to_owned(), format!("{} ({id})", file(adapter)));
    }
    Identity { suite: suite.clone(), run }
}

/// The run's work on its sets.
struct Asking {
    session: Session,
    options: RunOptions<'static>,
    out: Option<Folder>,
    interrupted: Arc<AtomicBool>,
    progress: Progress,
    done: u64,
    failed: u64,
}

impl Asking {
    /// A line where no bar is drawn.
    fn say(&self, text: &str) {
        if !stderr().is_terminal() {
            let _ = writeln!(stderr(), "{text}");
        }
    }

    fn set(&mut self, set: &mut Ready<'_>, engine: &Engine, args: &Eval) -> Result<()> {
        let plan = set.plan;
        let count = usize::from(args.shots);
        let shots = if count == 0 { Vec::new() } else { shots(engine.prompts(), plan, &set.loaded.examples, count)? };
        let choice = choice_rules(&args.choice);
        let mut setting = Setting { plan, run: RunOptions { shots, ..self.options.clone() }, choice };
        setting.run.batch = usize::from(args.batch);
        let mut known = match &mut self.out {
            Some(out) => out.set(&plan.name)?,
            None => BTreeMap::new(),
        };
        let (held, mut left): (Vec<&Item>, Vec<&Item>) =
            set.loaded.items.iter().partition(|item| known.contains_key(&item.id));
        set.lines.extend(held.iter().filter_map(|item| known.remove(&item.id)));
        self.done += held.len() as u64;
        // Items of like length are asked together, the longest first: then what is left takes no longer than estimated.
        left.sort_by_key(|item| std::cmp::Reverse(item.length()));
        for batch in left.chunks(usize::from(args.batch)) {
            if self.interrupted.load(Ordering::Relaxed) {
                let how = match &args.out {
                    Some(_) => "the same command with --resume goes on",
                    None => "with --out FOLDER a run can be continued by --resume",
                };
                return Err(Stop::Interrupted(format!("interrupted after {} items; {how}", self.done)));
            }
            let items: Vec<Item> = batch.iter().map(|item| (*item).clone()).collect();
            let lines = ask(&mut self.session, &setting, &items)?;
            if let Some(out) = &mut self.out {
                out.write(&lines)?;
            }
            self.done += lines.len() as u64;
            self.failed += lines.iter().filter(|line| line.answer.is_none()).count() as u64;
            set.lines.extend(lines);
            self.progress.at(self.done, self.done, self.failed);
        }
        // Files and figures do not depend on the order of asking.
        let order: BTreeMap<&str, usize> =
            set.loaded.items.iter().enumerate().map(|(i, item)| (item.id.as_str(), i)).collect();
        set.lines.sort_by_key(|line| order.get(line.id.as_str()).copied());
        Ok(())
    }
}

fn finish(
    args: &Eval,
    suite: &Suite,
    run: BTreeMap<String, String>,
    sets: Vec<Ready<'_>>,
    absent: Vec<Without>,
    out: Option<Folder>,
) -> Result<()> {
    let mut errors = BTreeMap::new();
    let mut of = Vec::new();
    for set in &sets {
        let (mut figures, list) = figures(set.plan, &set.lines, suite.seed);
        if set.loaded.documents < set.loaded.of {
            let (some, all) = (set.loaded.documents, set.loaded.of);
            figures.notes.push(format!("{some} of the split's {all} documents, drawn by the seed"));
        }
        figures.notes.extend(set.loaded.notes.iter().cloned());
        errors.insert(set.plan.name.clone(), list);
        of.push(figures);
    }
    let report = Report { suite: suite.name.clone(), run, sets: of, absent };
    let json = serde_json::to_string_pretty(&report).map_err(|e| Stop::failed(format!("the report as JSON: {e}")))?;
    let markdown = report::markdown(&report);
    if let Some(out) = &out {
        for set in &sets {
            out.lines(&format!("{}.jsonl", set.plan.name), &set.lines)?;
            out.lines(&format!("{}.errors.jsonl", set.plan.name), &errors[&set.plan.name])?;
        }
        out.file("report.json", &format!("{json}\n"))?;
        out.file("report.md", &markdown)?;
        out.file("report.html", &report::html(&report, &errors))?;
    }
    let shown = if args.json { format!("{json}\n") } else { markdown };
    write!(stdout(), "{shown}").map_err(|e| Stop::write("stdout", &e))?;
    let failed: usize = report.sets.iter().map(|set| set.failed).sum();
    match failed {
        0 => Ok(()),
        failed => Err(Stop::SomeFailed(format!("{failed} items could not be answered; they count as wrong"))),
    }
}

fn side_by_side(args: &Eval) -> Result<()> {
    let mut runs = Vec::new();
    for path in &args.compare {
        runs.push((path, Folder::identity(path)?));
    }
    let first = &runs[0].1;
    let mut sets: Vec<Comparison> = Vec::new();
    let mut left_out = Vec::new();
    for plan in &first.suite.set {
        let mut lines = Vec::new();
        for (path, identity) in &runs {
            let same = identity.suite.set.iter().find(|set| set.name == plan.name);
            if same.is_some_and(|set| set.metric == plan.metric && set.task.name() == plan.task.name()) {
                lines.extend(Folder::read(path, &plan.name)?);
            }
        }
        if lines.len() < runs.len() {
            left_out.push(plan.name.as_str());
            continue;
        }
        let lines: Vec<&[Line]> = lines.iter().map(Vec::as_slice).collect();
        sets.push(compare(plan, &lines, first.suite.seed));
    }
    let names: Vec<String> = runs.iter().map(|(path, _)| path.display().to_string()).collect();
    let mut text = report::comparison(&names, &sets);
    if !left_out.is_empty() {
        text += &format!("\nNot in every run: {}.\n", left_out.join(", "));
    }
    write!(stdout(), "{text}").map_err(|e| Stop::write("stdout", &e))
}

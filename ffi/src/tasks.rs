//! The seven tasks, each over a batch: one result or one status per document, in input order.

use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::Handle;
use crate::log::{BMN_LOG_DEBUG, BMN_LOG_WARN};
use crate::memory::{self, bmn_str};
use crate::offsets::Answer;
use crate::result::{Outcome, bmn_result};
use crate::run::{BMN_RUN_MULTI, BMN_RUN_NO_SCORES, BMN_RUN_SAME_SENTENCE, BMN_RUN_SHOW_PROMPT, Run, bmn_run_options};
use crate::schema::bmn_schema;
use crate::session::bmn_session;
use crate::status::*;
use engine::task::{
    AnswerRequest, ClassifyRequest, Document, EntailRequest, EventsRequest, ExtractRequest, Inference, Mention,
    OffsetUnit, Question, RelateDocument, RelateRequest, RunOptions, Session, SimilarRequest, TextPair,
};
use std::ffi::c_char;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// An entity that the caller brings along, for `bmn_relate`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_mention {
    /// Its label; NUL-terminated.
    pub label: *const c_char,
    /// First byte of its text in the document.
    pub start: u64,
    /// Byte after its text.
    pub end: u64,
}

/// A document with the entities that the caller brings along.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_relate_doc {
    /// The document.
    pub text: bmn_str,
    /// Its entities; NULL: they are extracted by the schema's labels.
    pub mentions: *const bmn_mention,
    /// Number of `mentions`.
    pub n_mentions: usize,
}

/// A multiple-choice question.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_question {
    /// What is asked.
    pub question: bmn_str,
    /// What it is asked about; may be empty.
    pub context: bmn_str,
    /// The options, two at least.
    pub options: *const bmn_str,
    /// Number of `options`.
    pub n_options: usize,
}

/// Two texts: premise and hypothesis, or the texts to compare.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_pair {
    /// Premise, or first text.
    pub a: bmn_str,
    /// Hypothesis, or second text.
    pub b: bmn_str,
}

/// Where a call's outputs go.
struct Outputs {
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    n: usize,
}

/// Runs a task over items - each as the engine takes it, with the text that its spans count in - and hands out results.
///
/// # Safety
/// Every pointer is as the header asks.
unsafe fn run<T, A>(
    session: *const bmn_session,
    options: *const bmn_run_options,
    outputs: &Outputs,
    items: Vec<Result<(T, String), Failure>>,
    ask: impl FnOnce(&mut Session, &[T], &Run, &RunOptions<'_>) -> engine::Result<Vec<engine::Result<A>>>,
    answer: impl Fn(A) -> Answer,
) -> Result<(), Failure> {
    // SAFETY: the caller keeps the header's promises about every pointer.
    let (worker, run) = unsafe { (memory::handle(session, "session")?, Run::read(options)?) };
    let start = Instant::now();
    let raw = run.raw;
    let progress = |done: usize, of: usize| match raw.progress {
        // SAFETY: the caller gave the function and what it is to be called with.
        Some(call) if unsafe { call(raw.progress_user_data, done as u64, of as u64) } != 0 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let engine_options = RunOptions {
        unit: OffsetUnit::Byte,
        adapter: run.adapter.clone(),
        template: run.template,
        window: run.window(),
        scores: !run.has(BMN_RUN_NO_SCORES),
        show_prompt: run.has(BMN_RUN_SHOW_PROMPT),
        batch: if raw.batch == 0 { 32 } else { raw.batch as usize },
        cancel: run.cancel.clone(),
        deadline: (raw.timeout_ms > 0).then(|| start + Duration::from_millis(u64::from(raw.timeout_ms))),
        progress: Some(&progress),
        ..RunOptions::default()
    };
    // Items that cannot be read fail alone; the others are asked about.
    let mut good = Vec::with_capacity(items.len());
    let texts: Vec<Result<String, Failure>> = items
        .into_iter()
        .map(|item| {
            item.map(|(item, text)| {
                good.push(item);
                text
            })
        })
        .collect();
    let mut answers = ask(&mut *worker.session()?, &good, &run, &engine_options)?.into_iter();
    let outcomes: Vec<Result<Outcome, Failure>> = texts
        .into_iter()
        .map(|text| {
            let text = text?;
            let found = answers.next().ok_or_else(|| engine::Error::internal("a document without an answer"))?;
            Outcome::new(answer(found?), &text)
        })
        .collect();
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    worker.model.runtime.log.tell(if failed > 0 { BMN_LOG_WARN } else { BMN_LOG_DEBUG }, "run", || {
        format!("{} documents, {failed} failed, {} ms", outcomes.len(), start.elapsed().as_millis())
    });
    // SAFETY: as above.
    unsafe { outputs.write(outcomes) }
}

impl Outputs {
    /// Refuses NULL before any work is done.
    fn check(&self) -> Result<(), Failure> {
        if self.n > 0 { memory::place(self.results, "results") } else { Ok(()) }
    }

    /// # Safety
    /// `results` and, unless NULL, `statuses` have `n` places.
    unsafe fn write(&self, outcomes: Vec<Result<Outcome, Failure>>) -> Result<(), Failure> {
        if self.statuses.is_null() {
            for (i, outcome) in outcomes.iter().enumerate() {
                if let Err(failure) = outcome {
                    return Err(Failure::new(failure.status, format!("document {i}: {}", failure.message)));
                }
            }
        }
        for (i, outcome) in outcomes.into_iter().enumerate() {
            let (status, outcome) = match outcome {
                Ok(outcome) => (BMN_OK, outcome),
                Err(failure) => (failure.status, Outcome::failed(&failure)),
            };
            // SAFETY: `i < n`; the caller's promise.
            unsafe {
                if !self.statuses.is_null() {
                    memory::put(self.statuses.add(i), status);
                }
                memory::put(self.results.add(i), bmn_result::give(outcome));
            }
        }
        Ok(())
    }
}

/// Entities of `n` documents by the labels of `schema`: spans, each `text[start..end]` exactly.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_extract(
    session: *const bmn_session,
    schema: *const bmn_schema,
    docs: *const bmn_str,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let schema = memory::handle(schema, "schema")?;
            let items = memory::slice(docs, n, "docs")?.iter();
            let items = items.map(|item| document(*item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    let request = ExtractRequest { labels: schema.labels.clone(), policy: run.policy() };
                    session.extract(items, &request, options)
                },
                Answer::Extract,
            )
        })
    }
}

/// Events of `n` documents by the events of `schema`: triggers and arguments as spans, arguments and attributes as links.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_events(
    session: *const bmn_session,
    schema: *const bmn_schema,
    docs: *const bmn_str,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let schema = memory::handle(schema, "schema")?;
            let items = memory::slice(docs, n, "docs")?.iter();
            let items = items.map(|item| document(*item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    let request = EventsRequest {
                        events: schema.events.clone(),
                        policy: run.policy(),
                        choice: run.choice(),
                        mentions: run.mentions(),
                    };
                    session.events(items, &request, options)
                },
                Answer::Events,
            )
        })
    }
}

/// The class of `n` documents among the classes of `schema`, or with `BMN_RUN_MULTI` those that apply, with probabilities.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_classify(
    session: *const bmn_session,
    schema: *const bmn_schema,
    docs: *const bmn_str,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let schema = memory::handle(schema, "schema")?;
            let items = memory::slice(docs, n, "docs")?.iter();
            let items = items.map(|item| document(*item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    let request = ClassifyRequest {
                        question: None,
                        classes: schema.classes.clone(),
                        multi: run.has(BMN_RUN_MULTI),
                        choice: run.choice(),
                    };
                    session.classify(items, &request, options)
                },
                Answer::Classify,
            )
        })
    }
}

/// Relations of `schema` between the entities of `n` documents, given or extracted: entities as spans, pairs as links with
/// the probabilities of all relations.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_relate(
    session: *const bmn_session,
    schema: *const bmn_schema,
    docs: *const bmn_relate_doc,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let schema = memory::handle(schema, "schema")?;
            let items = memory::slice(docs, n, "docs")?.iter();
            let items = items.map(|item| related(item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    let request = RelateRequest {
                        relations: schema.relations.clone(),
                        labels: schema.labels.clone(),
                        policy: run.policy(),
                        mentions: run.mentions(),
                        same_sentence: run.has(BMN_RUN_SAME_SENTENCE),
                        choice: run.choice(),
                        ..RelateRequest::default()
                    };
                    session.relate(items, &request, options)
                },
                Answer::Relate,
            )
        })
    }
}

/// `n` multiple-choice questions: every option with its probability.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` is live; `questions` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_answer(
    session: *const bmn_session,
    questions: *const bmn_question,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let items = memory::slice(questions, n, "questions")?.iter();
            let items = items.map(|item| question(item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    session.answer(items, &AnswerRequest { choice: run.choice(), ..AnswerRequest::default() }, options)
                },
                Answer::Choice,
            )
        })
    }
}

/// Whether the hypothesis (`b`) follows from the premise (`a`), for `n` pairs: entailment, neutral, contradiction.
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` is live; `pairs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_entail(
    session: *const bmn_session,
    pairs: *const bmn_pair,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let items = memory::slice(pairs, n, "pairs")?.iter();
            let items = items.map(|item| inference(item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    session.entail(items, &EntailRequest { choice: run.choice(), ..EntailRequest::default() }, options)
                },
                Answer::Choice,
            )
        })
    }
}

/// How similar two texts are, for `n` pairs: a probability per whole score from `scale_low` to `scale_high`, and the expected
/// score (`bmn_result_number`).
///
/// `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
/// are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
/// Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
///
/// # Safety
/// `session` is live; `pairs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
/// `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_similar(
    session: *const bmn_session,
    pairs: *const bmn_pair,
    n: usize,
    options: *const bmn_run_options,
    results: *mut *mut bmn_result,
    statuses: *mut bmn_status,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let outputs = Outputs { results, statuses, n };
            memory::handle(session, "session")?;
            outputs.check()?;
            let items = memory::slice(pairs, n, "pairs")?.iter();
            let items = items.map(|item| compared(item)).collect();
            run(
                session,
                options,
                &outputs,
                items,
                |session, items, run, options| {
                    let (low, high) = (run.raw.scale_low, run.raw.scale_high);
                    session.similar(items, &SimilarRequest { low, high, choice: run.choice() }, options)
                },
                Answer::Similar,
            )
        })
    }
}

/// A text of the caller, copied. It may be as large as the caller likes, so the copy is asked for.
fn copied(text: &str) -> Result<String, Failure> {
    let mut copy = String::new();
    let short = |_| engine::Error::OutOfMemory { what: "a copy of a text".into(), want: text.len() as u64, free: 0 };
    copy.try_reserve_exact(text.len()).map_err(short)?;
    copy.push_str(text);
    Ok(copy)
}

/// # Safety
/// `text` names memory that is there; so for the readers below.
unsafe fn document(text: bmn_str) -> Result<(Document, String), Failure> {
    // SAFETY: the caller's promise.
    let text = unsafe { memory::text(text, "document") }?;
    Ok((Document { id: String::new(), text: copied(text)? }, copied(text)?))
}

unsafe fn related(item: &bmn_relate_doc) -> Result<(RelateDocument, String), Failure> {
    // SAFETY: the caller's promise, here and below.
    let text = unsafe { memory::text(item.text, "document") }?;
    let read = |mention: &bmn_mention| {
        // SAFETY: as above.
        let label = unsafe { memory::string(mention.label, "mention.label") }?.to_owned();
        let place = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
        Ok(Mention { label, start: place(mention.start), end: place(mention.end) })
    };
    let entities = match item.mentions.is_null() {
        true => None,
        false => {
            // SAFETY: as above.
            let mentions = unsafe { memory::slice(item.mentions, item.n_mentions, "mentions") }?;
            Some(mentions.iter().map(read).collect::<Result<Vec<_>, Failure>>()?)
        }
    };
    Ok((RelateDocument { id: String::new(), text: copied(text)?, entities }, copied(text)?))
}

unsafe fn question(item: &bmn_question) -> Result<(Question, String), Failure> {
    // SAFETY: the caller's promise, for each text.
    unsafe {
        let options = memory::slice(item.options, item.n_options, "options")?;
        let options = options.iter().map(|option| copied(memory::text(*option, "option")?));
        let context = memory::text(item.context, "context")?;
        let question = Question {
            id: String::new(),
            question: Some(copied(memory::text(item.question, "question")?)?),
            context: (!context.is_empty()).then(|| copied(context)).transpose()?,
            options: options.collect::<Result<_, _>>()?,
        };
        Ok((question, String::new()))
    }
}

unsafe fn inference(item: &bmn_pair) -> Result<(Inference, String), Failure> {
    // SAFETY: the caller's promise, for each text.
    unsafe {
        let premise = copied(memory::text(item.a, "premise")?)?;
        let hypothesis = copied(memory::text(item.b, "hypothesis")?)?;
        Ok((Inference { id: String::new(), premise, hypothesis }, String::new()))
    }
}

unsafe fn compared(item: &bmn_pair) -> Result<(TextPair, String), Failure> {
    // SAFETY: the caller's promise, for each text.
    unsafe {
        let text1 = copied(memory::text(item.a, "first text")?)?;
        let text2 = copied(memory::text(item.b, "second text")?)?;
        Ok((TextPair { id: String::new(), text1, text2 }, String::new()))
    }
}

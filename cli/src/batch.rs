//! The loop of every verb: documents in, batches of similar length, lines out in input order.

use crate::args::Run;
use crate::input::{Broken, Document, INVALID, Input};
use crate::progress::Progress;
use crate::results::{Done, Results};
use crate::stop::{Result, Stop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Batches that are read ahead and sorted by length; bounds memory and how late a line can be.
const AHEAD: usize = 8;

/// A task as the loop sees it.
pub trait Verb {
    /// A document checked and ready.
    type Ready;
    /// Checks a document; the error is one sentence without document text.
    fn ready(&self, document: &Document) -> std::result::Result<Self::Ready, String>;
    /// Answers documents together: one result line or failure each, in order.
    fn answer(&mut self, documents: &[(&Document, &Self::Ready)]) -> Vec<std::result::Result<String, Broken>>;
}

/// Set by the first Ctrl-C or SIGTERM; the second one ends the process at once.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let fail = |e: std::io::Error| Stop::failed(format!("signal handler: {e}"));
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag)).map_err(fail)?;
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(fail)?;
    }
    Ok(flag)
}

/// Runs a verb over all inputs.
pub fn run<V: Verb>(run: &Run, input: Input, outputs: (Results, Done), verb: &mut V, stop: &AtomicBool) -> Result<()> {
    let progress = Progress::new(input.total_bytes(), run.quiet);
    let (mut results, done) = outputs;
    let outcome = all(run, input, &mut results, done, verb, stop, &progress);
    // Whatever ended the run, what is finished is kept.
    let flushed = results.flush();
    progress.finish();
    outcome?;
    flushed?;
    let Results { failed, answered, .. } = results;
    if stop.load(Ordering::Relaxed) {
        let how = match &run.out {
            Some(out) => format!("; {} is whole so far, the same command with --resume continues it", out.display()),
            None => "; with --out FILE a run can be continued by --resume".to_owned(),
        };
        return Err(Stop::Interrupted(format!("interrupted after {} documents{how}", failed + answered)));
    }
    if failed > 0 {
        let place = match &run.errors {
            Some(path) => path.display().to_string(),
            None => "the lines with \"status\": \"error\"".to_owned(),
        };
        return Err(Stop::SomeFailed(format!("{failed} of {} documents failed, see {place}", failed + answered)));
    }
    Ok(())
}

type Slot<T> = std::result::Result<(Document, T), Broken>;

fn all<V: Verb>(
    run: &Run,
    mut input: Input,
    results: &mut Results,
    mut done: Done,
    verb: &mut V,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<()> {
    let batch = usize::from(run.batch);
    loop {
        let mut slots: Vec<Slot<V::Ready>> = Vec::new();
        let mut ended = false;
        while slots.len() < batch * AHEAD && !stop.load(Ordering::Relaxed) {
            let Some(next) = input.next_document()? else {
                ended = true;
                break;
            };
            let id = next.as_ref().map_or_else(|b| &b.id, |d| &d.id);
            if done.take(id) {
                continue;
            }
            slots.push(match next {
                Err(broken) => Err(broken),
                Ok(document) => match verb.ready(&document) {
                    Ok(ready) => Ok((document, ready)),
                    Err(why) => Err(document.broken(INVALID, why)),
                },
            });
        }
        for (slot, line) in slots.iter().zip(answer(batch, &slots, verb, stop, results, progress, input.bytes())) {
            match (slot, line) {
                (Err(broken), _) => results.fail(broken)?,
                (Ok(_), Some(Ok(line))) => results.answer(&line)?,
                (Ok(_), Some(Err(broken))) => results.fail(&broken)?,
                (Ok(_), None) => {}
            }
        }
        results.flush()?;
        progress.at(input.bytes(), results.answered + results.failed, results.failed);
        if ended || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// Lines of the good documents, by slot; `None` for a bad document and for one not reached before an interruption.
fn answer<V: Verb>(
    batch: usize,
    slots: &[Slot<V::Ready>],
    verb: &mut V,
    stop: &AtomicBool,
    results: &Results,
    progress: &Progress,
    bytes: u64,
) -> Vec<Option<std::result::Result<String, Broken>>> {
    let mut good: Vec<usize> = (0..slots.len()).filter(|i| slots[*i].is_ok()).collect();
    let length = |i: &usize| slots[*i].as_ref().map_or(0, |(document, _)| document.text_bytes());
    good.sort_by_key(length);
    let mut lines: Vec<_> = slots.iter().map(|_| None).collect();
    let mut finished = results.answered + results.failed;
    for group in good.chunks(batch) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let documents: Vec<(&Document, &V::Ready)> =
            group.iter().filter_map(|i| slots[*i].as_ref().ok()).map(|(d, r)| (d, r)).collect();
        for (i, line) in group.iter().zip(verb.answer(&documents)) {
            lines[*i] = Some(line);
        }
        finished += group.len() as u64;
        progress.at(bytes, finished, results.failed);
    }
    lines
}

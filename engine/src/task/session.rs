//! A session: one thread's work on an engine, one method per task.

use super::answer::{ChoiceAnswer, ClassifyAnswer, EventsAnswer, ExtractAnswer, RelateAnswer, SimilarAnswer};
use super::engine::{Engine, Setting};
use super::frame::Prompt;
use super::request::{
    AnswerRequest, Check, ClassifyRequest, Document, EntailRequest, EventsRequest, ExtractRequest, Inference, Question,
    RelateDocument, RelateRequest, RunOptions, SimilarRequest, TextPair,
};
use super::{choices, events, extract, relate};
use crate::decode::{Decoder, DecoderOptions, Scores};
use crate::text::Message;
use crate::{Error, Result};
use serde::Serialize;
use std::sync::Arc;

/// One thread's work: key/value cache and scratch. Any thread may hold it, one at a time.
///
/// Every method answers a batch in input order, one result per document; a document that fails does not touch the others.
/// The outer error is a request that no document could be asked: a name, a rule, an adapter.
pub struct Session {
    engine: Arc<Engine>,
    decoder: Decoder,
    /// Count of the engine's adapter changes when this session last looked.
    adapter_epoch: u64,
}

/// What the tasks work with during one batch.
pub(crate) struct Work<'a> {
    pub engine: &'a Engine,
    pub setting: Setting<'a>,
    pub decoder: &'a mut Decoder,
    pub run: &'a RunOptions<'a>,
}

impl Work<'_> {
    /// A message in the run's chat template, after the run's examples.
    pub fn framed(&self, message: &str) -> Result<Prompt> {
        fn said<'t>(role: &'t str, content: &'t str) -> Message<'t> {
            Message { role, content }
        }
        let shots = self.run.shots.iter().flat_map(|s| [said("user", &s.message), said("assistant", &s.answer)]);
        let messages: Vec<Message<'_>> = shots.chain([said("user", message)]).collect();
        self.setting.frame.conversation(&self.engine.tokenizer, &messages)
    }
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self> {
        let model = Arc::clone(&engine.model);
        let mut options = DecoderOptions::new(model.config());
        options.max_positions = engine.context;
        let decoder = Decoder::new(model.session()?, options);
        let adapter_epoch = engine.adapter_ids().0;
        Ok(Self { engine, decoder, adapter_epoch })
    }

    /// The engine it works on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Entity spans.
    pub fn extract(
        &mut self,
        documents: &[Document],
        request: &ExtractRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<ExtractAnswer>>> {
        self.batches(documents, request, run, |work, documents| extract::extract(work, documents, request))
    }

    /// Events: triggers first, then the arguments and attributes of each.
    pub fn events(
        &mut self,
        documents: &[Document],
        request: &EventsRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<EventsAnswer>>> {
        self.batches(documents, request, run, |work, documents| events::events(work, documents, request))
    }

    /// The class of a document, or the classes that apply.
    pub fn classify(
        &mut self,
        documents: &[Document],
        request: &ClassifyRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<ClassifyAnswer>>> {
        refuse_window("classify", run)?;
        self.batches(documents, request, run, |work, documents| choices::classify(work, documents, request))
    }

    /// Relations between entities, given or extracted.
    pub fn relate(
        &mut self,
        documents: &[RelateDocument],
        request: &RelateRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<RelateAnswer>>> {
        refuse_window("relate", run)?;
        self.batches(documents, request, run, |work, documents| relate::relate(work, documents, request))
    }

    /// Multiple-choice questions.
    pub fn answer(
        &mut self,
        questions: &[Question],
        request: &AnswerRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<ChoiceAnswer>>> {
        refuse_window("answer", run)?;
        self.batches(questions, request, run, |work, questions| choices::answer(work, questions, request))
    }

    /// Whether a hypothesis follows from a premise.
    pub fn entail(
        &mut self,
        pairs: &[Inference],
        request: &EntailRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<ChoiceAnswer>>> {
        refuse_window("entail", run)?;
        self.batches(pairs, request, run, |work, pairs| choices::entail(work, pairs, request))
    }

    /// How similar two texts are.
    pub fn similar(
        &mut self,
        pairs: &[TextPair],
        request: &SimilarRequest,
        run: &RunOptions<'_>,
    ) -> Result<Vec<Result<SimilarAnswer>>> {
        refuse_window("similar", run)?;
        self.batches(pairs, request, run, |work, pairs| choices::similar(work, pairs, request))
    }

    fn batches<T, R: Check + Serialize, A>(
        &mut self,
        items: &[T],
        request: &R,
        run: &RunOptions<'_>,
        task: impl Fn(&mut Work<'_>, &[T]) -> Vec<Result<A>>,
    ) -> Result<Vec<Result<A>>> {
        request.check()?;
        if run.batch == 0 {
            return Err(Error::invalid("batch: expected at least 1 document, found 0"));
        }
        let engine = Arc::clone(&self.engine);
        self.decoder.set_scores(if run.scores { Scores::LogProbAndMass } else { Scores::None });
        let halt = run.halt();
        self.decoder.halt_by(halt.clone());
        let (epoch, loaded) = engine.adapter_ids();
        if epoch != self.adapter_epoch {
            self.decoder.forget_prefixes(|of| of.is_some_and(|id| !loaded.contains(&id)));
            self.adapter_epoch = epoch;
        }
        let mut work =
            Work { engine: &engine, setting: engine.setting(run, request)?, decoder: &mut self.decoder, run };
        let mut answers = Vec::with_capacity(items.len());
        for batch in items.chunks(run.batch) {
            if let Err(halt) = halt.check() {
                answers.extend(batch.iter().map(|_| Err(halt.again())));
                continue;
            }
            answers.extend(task(&mut work, batch));
            if run.progress.is_some_and(|progress| progress(answers.len(), items.len()).is_break()) {
                break;
            }
        }
        answers.extend(items[answers.len()..].iter().map(|_| Err(Error::Cancelled)));
        Ok(answers)
    }
}

fn refuse_window(task: &str, run: &RunOptions<'_>) -> Result<()> {
    match run.window {
        None => Ok(()),
        Some(_) => Err(Error::unsupported(format!(
            "windows for {task}: a probability given parts of a text is not one given the text; only extract and events read windows"
        ))),
    }
}

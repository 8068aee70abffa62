//! Many requests over one session: prompts in chunks, rows of all live requests packed into each pass, requests that
//! finish make room for new ones, answers in input order.
//!
//! A row's result does not depend on its neighbours, so neither does a request's. When a packed call fails, each request is
//! tried alone, so that one that cannot be served fails without the others.

use super::decoder::Decoder;
use crate::model::{AdapterId, ModelSession, RowId, SequenceId, Step, TreeNode};
use crate::{Error, Result};

/// What a request starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt<'a> {
    pub tokens: &'a [u32],
    pub shared: usize,
    pub adapter: Option<AdapterId>,
}

/// Rows of one request in the next pass; `keep` counts from the first token of `chain`, tree after chain.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub chain: Vec<u32>,
    pub tree: Vec<TreeNode>,
    pub keep: Vec<u32>,
}

/// What a request asks about kept rows.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pub logits: Vec<(RowId, Vec<u32>)>,
    pub normalisers: Vec<RowId>,
}

/// Answers to [`Questions`], in their order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub logits: Vec<Vec<f32>>,
    pub normalisers: Vec<f64>,
}

/// What a request does next.
pub(super) enum Next<T> {
    Pass,
    Ask,
    Done(T),
}

/// One request, as the rows it computes and the questions it asks about them.
pub(super) trait Job {
    type Output;
    fn prompt(&self) -> Prompt<'_>;
    /// Rows of the next pass. The first plan's chain begins with the prompt's last token, all before it are in the cache.
    /// At most `drafts` rows may be guesses.
    fn plan(&mut self, drafts: usize) -> Result<Plan>;
    /// Takes over the rows that the plan kept.
    fn kept(&mut self, rows: Vec<RowId>);
    fn questions(&mut self) -> Questions;
    fn answer(
        &mut self,
        session: &mut dyn ModelSession,
        sequence: SequenceId,
        answers: Answers,
    ) -> Result<Next<Self::Output>>;
    /// Hands over all rows still held, to be released.
    fn take_rows(&mut self) -> Vec<RowId>;
}

/// A request in the session; `fed` prompt tokens are in the cache.
struct Live<J> {
    index: usize,
    job: J,
    sequence: SequenceId,
    fed: usize,
}

/// One request's part of one pass.
struct Turn {
    live: usize,
    sequence: SequenceId,
    plan: Plan,
    planned: bool,
}

impl Turn {
    fn step(&self) -> Step<'_> {
        Step { sequence: self.sequence, chain: &self.plan.chain, tree: &self.plan.tree, keep: &self.plan.keep }
    }
}

/// Answers by input index, as they come in.
type Results<T> = Vec<Option<Result<T>>>;

impl Decoder {
    /// Runs all jobs to their ends; a job that could not be made keeps its error.
    pub(super) fn run<J: Job>(&mut self, jobs: Vec<Result<J>>) -> Vec<Result<J::Output>> {
        let mut results: Results<J::Output> = Vec::with_capacity(jobs.len());
        let mut queue = Vec::new();
        for (index, job) in jobs.into_iter().enumerate() {
            match job {
                Ok(job) => {
                    queue.push((index, job));
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        // The end of the queue goes first: longest prompts, so that no long one is left to run alone at the end.
        queue.sort_by_key(|(index, job)| (job.prompt().tokens.len(), std::cmp::Reverse(*index)));
        let mut live: Vec<Live<J>> = Vec::new();
        loop {
            if let Err(halt) = self.halt.check() {
                queue.drain(..).for_each(|(index, _)| results[index] = Some(Err(halt.again())));
                live.drain(..).for_each(|gone| self.close(gone, Err(halt.again()), &mut results));
            }
            while live.len() < self.options.live_sequences.max(1) {
                let Some((index, job)) = queue.pop() else { break };
                match self.enter(&job.prompt()) {
                    Ok((sequence, fed)) => live.push(Live { index, job, sequence, fed }),
                    Err(error) => results[index] = Some(Err(error)),
                }
            }
            if live.is_empty() {
                break;
            }
            for (place, outcome) in self.pass(&mut live).into_iter().rev() {
                let gone = live.remove(place);
                self.close(gone, outcome, &mut results);
            }
        }
        results.into_iter().map(|r| r.unwrap_or_else(|| Err(Error::internal("a request was never answered")))).collect()
    }

    /// A sequence for `prompt`, forked from its shared prefix where that can be cached, and its length.
    fn enter(&mut self, prompt: &Prompt<'_>) -> Result<(SequenceId, usize)> {
        let shared = prompt.shared.min(prompt.tokens.len() - 1);
        if shared == 0 || !self.prefixes.fits(shared) {
            return Ok((self.session.sequence(prompt.adapter)?, 0));
        }
        let tokens = &prompt.tokens[..shared];
        let prefix = match self.prefixes.find(prompt.adapter, tokens) {
            Some(prefix) => prefix,
            None => {
                let prefix = self.session.sequence(prompt.adapter)?;
                if let Err(error) = self.read(prefix, tokens) {
                    self.session.release(prefix);
                    return Err(error);
                }
                self.prefixes.insert(&mut *self.session, prompt.adapter, tokens, prefix);
                prefix
            }
        };
        Ok((self.session.fork(prefix, shared)?, shared))
    }

    fn read(&mut self, sequence: SequenceId, tokens: &[u32]) -> Result<()> {
        for chain in tokens.chunks(self.options.pass_rows.max(1)) {
            self.halt.check()?;
            self.session.forward(&[Step { sequence, chain, tree: &[], keep: &[] }])?;
        }
        Ok(())
    }

    fn close<J: Job>(&mut self, mut gone: Live<J>, outcome: Result<J::Output>, results: &mut Results<J::Output>) {
        self.session.release_rows(&gone.job.take_rows());
        self.session.release(gone.sequence);
        results[gone.index] = Some(outcome);
    }

    /// One pass over the live requests; those that ended, by place, ascending.
    fn pass<J: Job>(&mut self, live: &mut [Live<J>]) -> Vec<(usize, Result<J::Output>)> {
        let mut ended = Vec::new();
        let turns = self.turns(live, &mut ended);
        let mut asking = Vec::new();
        for (turn, rows) in turns.iter().zip(self.forward(&turns)) {
            match rows {
                Ok(rows) if turn.planned => {
                    live[turn.live].job.kept(rows);
                    asking.push(turn.live);
                }
                Ok(_) => {}
                Err(error) => ended.push((turn.live, Err(error))),
            }
        }
        while !asking.is_empty() {
            let questions: Vec<Questions> = asking.iter().map(|&place| live[place].job.questions()).collect();
            let answers = self.ask(&questions);
            let mut again = Vec::new();
            for (&place, answers) in asking.iter().zip(answers) {
                let Live { job, sequence, .. } = &mut live[place];
                match answers.and_then(|answers| job.answer(&mut *self.session, *sequence, answers)) {
                    Ok(Next::Pass) => {}
                    Ok(Next::Ask) => again.push(place),
                    Ok(Next::Done(output)) => ended.push((place, Ok(output))),
                    Err(error) => ended.push((place, Err(error))),
                }
            }
            asking = again;
        }
        ended.sort_by_key(|(place, _)| *place);
        ended
    }

    /// Who computes what: prompts up to the row budget, and the plan of each request whose prompt is read.
    fn turns<J: Job>(&self, live: &mut [Live<J>], ended: &mut Vec<(usize, Result<J::Output>)>) -> Vec<Turn> {
        let mut budget = self.options.pass_rows.max(1);
        let drafts = self.options.draft_rows / live.len();
        let mut turns = Vec::with_capacity(live.len());
        for (place, Live { job, sequence, fed, .. }) in live.iter_mut().enumerate() {
            let prompt = job.prompt().tokens;
            let end = (*fed + budget).min(prompt.len() - 1);
            let mut chain = prompt[*fed..end].to_vec();
            let planned = end == prompt.len() - 1;
            budget -= chain.len();
            *fed = end;
            let mut plan = Plan::default();
            if planned {
                plan = match job.plan(drafts) {
                    Ok(plan) => plan,
                    Err(error) => {
                        ended.push((place, Err(error)));
                        continue;
                    }
                };
                plan.keep.iter_mut().for_each(|row| *row += chain.len() as u32);
            }
            chain.append(&mut plan.chain);
            plan.chain = chain;
            if planned || !plan.chain.is_empty() {
                turns.push(Turn { live: place, sequence: *sequence, plan, planned });
            }
        }
        turns
    }

    /// One packed pass; the kept rows of each turn.
    fn forward(&mut self, turns: &[Turn]) -> Vec<Result<Vec<RowId>>> {
        if turns.is_empty() {
            return Vec::new();
        }
        let steps: Vec<Step<'_>> = turns.iter().map(Turn::step).collect();
        match self.session.forward(&steps) {
            Ok(rows) => {
                let wanted: usize = turns.iter().map(|turn| turn.plan.keep.len()).sum();
                if rows.len() != wanted {
                    let why = || format!("asked for {wanted} rows, the session gave {}", rows.len());
                    return turns.iter().map(|_| Err(Error::internal(why()))).collect();
                }
                let mut rows = rows.into_iter();
                turns.iter().map(|turn| Ok(rows.by_ref().take(turn.plan.keep.len()).collect())).collect()
            }
            Err(error) if steps.len() == 1 => vec![Err(error)],
            Err(_) => steps.iter().map(|step| self.session.forward(std::slice::from_ref(step))).collect(),
        }
    }

    /// One call each for the logits and the normalisers that all `questions` need.
    fn ask(&mut self, questions: &[Questions]) -> Vec<Result<Answers>> {
        match self.ask_together(questions) {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if questions.len() == 1 => vec![Err(error)],
            Err(_) => questions
                .iter()
                .map(|one| Ok(self.ask_together(std::slice::from_ref(one))?.pop().unwrap_or_default()))
                .collect(),
        }
    }

    fn ask_together(&mut self, questions: &[Questions]) -> Result<Vec<Answers>> {
        let asks: Vec<(RowId, &[u32])> =
            questions.iter().flat_map(|q| q.logits.iter().map(|(row, tokens)| (*row, tokens.as_slice()))).collect();
        let rows: Vec<RowId> = questions.iter().flat_map(|q| q.normalisers.iter().copied()).collect();
        let logits = if asks.is_empty() { Vec::new() } else { self.session.logits(&asks)? };
        let normalisers = if rows.is_empty() { Vec::new() } else { self.session.normalisers(&rows)? };
        let (wanted, found) = (asks.iter().map(|(_, tokens)| tokens.len()).sum::<usize>(), logits.len());
        if wanted != found || rows.len() != normalisers.len() {
            return Err(Error::internal(format!("asked for {wanted} logits, the session gave {found}")));
        }
        if logits.iter().any(|x| x.is_nan()) || normalisers.iter().any(|x| !x.is_finite()) {
            return Err(Error::internal("the model gave a logit that is not a number"));
        }
        let (mut logits, mut normalisers) = (logits.into_iter(), normalisers.into_iter());
        Ok(questions
            .iter()
            .map(|q| Answers {
                logits: q.logits.iter().map(|(_, t)| logits.by_ref().take(t.len()).collect()).collect(),
                normalisers: normalisers.by_ref().take(q.normalisers.len()).collect(),
            })
            .collect())
    }
}

//! Greedy decoding under a constraint, plain or speculative: the same tokens and the same bits of every score.

use super::batch::{Answers, Job, Next, Plan, Prompt, Questions};
use super::choice::{log_prob, log_sum_exp};
use super::decoder::{Decoder, DecoderOptions, Mode, Scores};
use super::draft::{Aside, Draft, Memory, Room, draft, forced};
use super::{Constraint, StateId};
use crate::model::{AdapterId, ModelSession, RowId, SequenceId};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// An answer to be generated.
pub struct Generation<'a> {
    /// Tokens before the answer.
    pub prompt: &'a [u32],
    /// Leading prompt tokens likely shared with other requests; cached.
    pub shared: usize,
    /// Adapter to compute with.
    pub adapter: Option<AdapterId>,
    /// What the answer may be.
    pub constraint: &'a mut dyn Constraint,
}

/// The answer that takes the likeliest allowed token at each step, the lowest id among equals.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generated {
    /// From the first token to the one that reaches the final state.
    pub tokens: Vec<u32>,
    /// Natural log-probability of each token over the full vocabulary; empty where not asked for.
    pub logprobs: Vec<f64>,
    /// Probability of all tokens allowed at each step over the full vocabulary; empty where not asked for.
    pub mass: Vec<f64>,
    /// Natural log-probability of each aside that the constraint named on the way ([`Constraint::aside`]), in order; empty
    /// without scores.
    pub asides: Vec<f64>,
    /// Passes that computed a row of this answer, the one that ended the prompt included.
    pub passes: usize,
    /// Drafted rows.
    pub drafted: usize,
    /// Drafted rows that became part of the answer.
    pub accepted: usize,
}

/// A given continuation to be scored.
#[derive(Debug, Clone, Copy)]
pub struct Continuation<'a> {
    /// Tokens before it.
    pub prompt: &'a [u32],
    /// Leading prompt tokens likely shared with other requests; cached.
    pub shared: usize,
    /// Adapter to compute with.
    pub adapter: Option<AdapterId>,
    /// The continuation, not empty.
    pub tokens: &'a [u32],
}

impl Decoder {
    /// The answer of each request, in input order.
    pub fn generate(&mut self, requests: &mut [Generation<'_>]) -> Vec<Result<Generated>> {
        let options = self.options.clone();
        let jobs = requests.iter_mut().map(|request| {
            let prompt = self.prompt(request.prompt, request.shared, request.adapter, 0)?;
            GenerateJob::new(prompt, &mut *request.constraint, options.clone())
        });
        let jobs = jobs.collect();
        self.run(jobs)
    }

    /// The natural log-probability of each token of each continuation, over the full vocabulary.
    pub fn score(&mut self, requests: &[Continuation<'_>]) -> Vec<Result<Vec<f64>>> {
        let mut literals: Vec<Literal<'_>> = requests.iter().map(|r| Literal(r.tokens)).collect();
        let options = DecoderOptions { mode: Mode::Speculative, scores: Scores::LogProb, ..self.options.clone() };
        let jobs = requests.iter().zip(&mut literals).map(|(request, literal)| {
            let prompt = self.prompt(request.prompt, request.shared, request.adapter, 0)?;
            self.check_tokens("the continuation", request.tokens)?;
            GenerateJob::new(prompt, literal, options.clone())
        });
        let jobs = jobs.collect();
        self.run(jobs).into_iter().map(|generated: Result<Generated>| Ok(generated?.logprobs)).collect()
    }
}

/// Exactly one answer.
struct Literal<'a>(&'a [u32]);

impl Constraint for Literal<'_> {
    fn start(&self) -> StateId {
        StateId(0)
    }

    fn allowed(&mut self, state: StateId) -> &[u32] {
        self.0.get(state.0 as usize).map_or(&[], std::slice::from_ref)
    }

    fn advance(&mut self, state: StateId, token: u32) -> Option<StateId> {
        self.0.get(state.0 as usize).filter(|&&t| t == token).map(|_| StateId(state.0 + 1))
    }
}

/// One answer on its way. Between passes, with scores, `rows[i]` is the row that predicts `generated.tokens[i]`, and the
/// rows yet missing are those of `pending`.
struct GenerateJob<'a> {
    prompt: Prompt<'a>,
    constraint: &'a mut dyn Constraint,
    options: DecoderOptions,
    generated: Generated,
    state: StateId,
    ended: bool,
    /// Known tokens that are not in the cache; at first the prompt's last.
    pending: Vec<u32>,
    /// Tokens in the cache, drafts not counted.
    cached: usize,
    rows: Vec<RowId>,
    /// Log-sum-exp of the allowed logits where the token was a choice.
    allowed: Vec<Option<f64>>,
    /// Asides on the way: the row that predicts each token, and the token.
    asides: Vec<Vec<(RowId, u32)>>,
    /// Rows of asides that are not of the answer.
    beside: Vec<RowId>,
    memory: Memory,
    draft: Draft,
    /// Whether this pass reaches the end of what is known, and the model is asked how to go on.
    asks: bool,
    /// Rows of this pass: the last of the chain where `asks`, and those of the draft.
    places: Vec<RowId>,
    /// Of each place, its answer among those asked for in this pass.
    asked: Vec<Option<usize>>,
}

impl<'a> GenerateJob<'a> {
    fn new(prompt: Prompt<'a>, constraint: &'a mut dyn Constraint, options: DecoderOptions) -> Result<Self> {
        let state = constraint.start();
        if constraint.allowed(state).is_empty() {
            return Err(Error::invalid("the constraint allows no answer, at least one token is needed"));
        }
        let cached = prompt.tokens.len() - 1;
        let mut job = GenerateJob {
            prompt,
            constraint,
            options,
            generated: Generated::default(),
            state,
            ended: false,
            pending: vec![prompt.tokens[cached]],
            cached,
            rows: Vec::new(),
            allowed: Vec::new(),
            asides: Vec::new(),
            beside: Vec::new(),
            memory: Memory::default(),
            draft: Draft::default(),
            asks: false,
            places: Vec::new(),
            asked: Vec::new(),
        };
        job.jump()?;
        Ok(job)
    }

    fn scored(&self) -> bool {
        self.options.scores != Scores::None
    }

    fn forced(&mut self) -> Option<u32> {
        let scored = self.scored();
        forced(self.constraint, self.state, scored)
    }

    /// Appends a token to the answer; `allowed` is the log-sum-exp of the logits it was chosen from.
    fn say(&mut self, token: u32, allowed: Option<f64>) -> Result<()> {
        self.state = self
            .constraint
            .advance(self.state, token)
            .ok_or_else(|| Error::internal(format!("the constraint refused token {token} that it allowed")))?;
        self.ended = self.constraint.allowed(self.state).is_empty();
        self.generated.tokens.push(token);
        self.allowed.push(allowed);
        Ok(())
    }

    /// Says what is forced without asking the model.
    fn jump(&mut self) -> Result<()> {
        while self.options.mode == Mode::Speculative && !self.ended {
            let Some(token) = self.forced() else { break };
            self.say(token, None)?;
            if !self.ended {
                self.pending.push(token);
                self.check_length()?;
            }
        }
        Ok(())
    }

    fn check_length(&self) -> Result<()> {
        let (need, limit) = (self.cached + self.pending.len(), self.options.max_positions);
        if need > limit {
            return Err(Error::TooLong { what: "the prompt with its answer".into(), need, limit });
        }
        Ok(())
    }

    /// Follows the model from the end of the chain through the draft; the nodes on the way.
    fn walk(&mut self, answers: &Answers) -> Result<Vec<u32>> {
        let mut path: Vec<u32> = Vec::new();
        loop {
            let place = path.last().map_or(0, |&node| node as usize + 1);
            let (token, allowed) = match self.asked[place] {
                Some(at) => {
                    let (tokens, logits) = (self.constraint.allowed(self.state), &answers.logits[at]);
                    let best = best(logits);
                    self.memory.observe(tokens, logits, best);
                    let logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
                    (tokens[best], Some(log_sum_exp(&logits)))
                }
                None => (self.constraint.allowed(self.state)[0], None),
            };
            if let Some(Aside { tokens, nodes }) = self.draft.aside(path.last().copied()) {
                let rows = [place].into_iter().chain(nodes.iter().map(|&node| node as usize + 1));
                self.asides.push(rows.map(|at| self.places[at]).zip(tokens.iter().copied()).collect());
            }
            self.say(token, allowed)?;
            let next = self.draft.tree.child(path.last().copied(), token);
            if self.ended {
                return Ok(path);
            }
            // A node of an aside may be where another begins, whose rows were not drafted.
            let lacks_aside =
                self.scored() && self.draft.aside(next).is_none() && self.constraint.aside(self.state).is_some();
            match next {
                Some(node) if self.options.mode == Mode::Speculative && !lacks_aside => path.push(node),
                _ => {
                    self.pending.push(token);
                    return Ok(path);
                }
            }
        }
    }

    /// Keeps the rows of the accepted path and of asides for scoring, releases the others.
    fn settle_places(&mut self, session: &mut dyn ModelSession, path: &[u32]) {
        let mut accepted = vec![false; self.places.len()];
        accepted[0] = self.scored();
        path.iter().for_each(|&node| accepted[node as usize + 1] = self.scored());
        let wanted: HashSet<RowId> = self.asides.iter().flatten().map(|(row, _)| *row).collect();
        let mut gone = Vec::new();
        // Nodes of a path ascend, so rows come in the order of their tokens.
        for (row, accepted) in self.places.drain(..).zip(accepted) {
            match accepted {
                true => self.rows.push(row),
                false if wanted.contains(&row) => self.beside.push(row),
                false => gone.push(row),
            }
        }
        session.release_rows(&gone);
    }

    /// Tokens to be scored: those of the answer, then those of each aside.
    fn scored_tokens(&self) -> impl Iterator<Item = (RowId, u32)> {
        let answer = self.rows.iter().copied().zip(self.generated.tokens.iter().copied());
        answer.chain(self.asides.iter().flatten().copied())
    }

    fn finish(&mut self, answers: &Answers) -> Generated {
        let mut generated = std::mem::take(&mut self.generated);
        let rows = self.rows.iter().chain(&self.beside);
        let normalisers: HashMap<&RowId, f64> = rows.zip(answers.normalisers.iter().copied()).collect();
        let tokens = self.rows.iter().chain(self.asides.iter().flatten().map(|(row, _)| row));
        let mut logprobs = tokens.zip(&answers.logits).map(|(row, logits)| log_prob(logits[0], normalisers[row]));
        generated.logprobs.extend(logprobs.by_ref().take(self.rows.len()));
        generated.asides.extend(self.asides.iter().map(|aside| logprobs.by_ref().take(aside.len()).sum::<f64>()));
        if self.options.scores == Scores::LogProbAndMass {
            let steps = self.allowed.iter().zip(&self.rows).zip(&generated.logprobs);
            let mass = steps.map(|((allowed, row), &logprob)| allowed.map_or(logprob, |sum| sum - normalisers[row]));
            generated.mass.extend(mass.map(|log| log.min(0.0).exp()));
        }
        generated
    }
}

/// Place of the greatest, the first among equals.
fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    for (place, x) in logits.iter().enumerate() {
        if *x > logits[best] {
            best = place;
        }
    }
    best
}

impl Job for GenerateJob<'_> {
    type Output = Generated;

    fn prompt(&self) -> Prompt<'_> {
        self.prompt
    }

    fn plan(&mut self, drafts: usize) -> Result<Plan> {
        let take = self.pending.len().min(self.options.pass_rows.max(1));
        let chain: Vec<u32> = self.pending.drain(..take).collect();
        self.cached += take;
        self.check_length()?;
        self.asks = self.pending.is_empty() && !self.ended;
        self.draft = Draft::default();
        if self.asks {
            let room = Room {
                rows: if self.options.mode == Mode::Plain { 0 } else { drafts },
                cached: self.cached,
                positions: self.options.max_positions,
                floor: self.options.draft_floor,
                scored: self.scored(),
            };
            self.draft = draft(self.constraint, self.state, &self.memory, room)?;
        }
        self.generated.passes += 1;
        self.generated.drafted += self.draft.tree.len();
        let first = if self.scored() { 0 } else { take - usize::from(self.asks) };
        let keep = (first as u32..(take + self.draft.tree.len()) as u32).collect();
        Ok(Plan { chain, tree: self.draft.tree.nodes().to_vec(), keep })
    }

    fn kept(&mut self, mut rows: Vec<RowId>) {
        let places = self.draft.tree.len() + usize::from(self.asks);
        self.places = rows.split_off(rows.len() - places);
        self.rows.extend(rows);
    }

    fn questions(&mut self) -> Questions {
        let mut questions = Questions::default();
        if self.asks {
            self.asked.clear();
            let states = std::iter::once(&self.state).chain(&self.draft.states);
            for (&row, &state) in self.places.iter().zip(states) {
                let allowed = self.constraint.allowed(state);
                self.asked.push((allowed.len() > 1).then_some(questions.logits.len()));
                if allowed.len() > 1 {
                    questions.logits.push((row, allowed.to_vec()));
                }
            }
        } else if self.ended && self.pending.is_empty() && self.scored() {
            questions.logits = self.scored_tokens().map(|(row, token)| (row, vec![token])).collect();
            questions.normalisers = self.rows.iter().chain(&self.beside).copied().collect();
        }
        questions
    }

    fn answer(
        &mut self,
        session: &mut dyn ModelSession,
        sequence: SequenceId,
        answers: Answers,
    ) -> Result<Next<Generated>> {
        if std::mem::take(&mut self.asks) {
            let path = self.walk(&answers)?;
            self.settle_places(session, &path);
            self.generated.accepted += path.len();
            if !self.ended && !path.is_empty() {
                session.commit(sequence, &path)?;
                self.cached += path.len();
            }
            self.jump()?;
            let settled = self.ended && self.pending.is_empty() && self.scored();
            return Ok(match settled {
                true => Next::Ask,
                false if self.ended && !self.scored() => Next::Done(std::mem::take(&mut self.generated)),
                false => Next::Pass,
            });
        }
        if self.ended && self.pending.is_empty() {
            return Ok(Next::Done(self.finish(&answers)));
        }
        Ok(Next::Pass)
    }

    fn take_rows(&mut self) -> Vec<RowId> {
        self.rows.drain(..).chain(self.places.drain(..)).chain(self.beside.drain(..)).collect()
    }
}

//! The exact posterior over given choices from one tree-masked pass.
//!
//! `L_i = Σ_t log p(c_it | prompt, c_i<t)` over the tokens of choice `i`, terminator included, each log-probability over the
//! full vocabulary; `P(i) = exp(L_i) / Σ_j exp(L_j)`. All choices hang below the prompt as one trie; tries of more nodes
//! than a pass takes are split by whole choices.

use super::batch::{Answers, Job, Next, Plan, Prompt, Questions};
use super::decoder::Decoder;
use super::generate::Continuation;
use super::tree::Tree;
use crate::model::{AdapterId, ModelSession, RowId, SequenceId};
use crate::{Error, Result};

/// A question with given answers.
#[derive(Debug, Clone, Copy)]
pub struct ChoiceRequest<'a> {
    /// Tokens before the choice.
    pub prompt: &'a [u32],
    /// Leading prompt tokens likely shared with other requests; cached.
    pub shared: usize,
    /// Adapter to compute with.
    pub adapter: Option<AdapterId>,
    /// The choices, each ended by its terminator, so that none is the beginning of another.
    pub choices: &'a [Vec<u32>],
}

/// What the model says of each choice, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// `L_i`: natural log-probability of the choice with its terminator.
    pub logprobs: Vec<f64>,
    /// `P(i)`, summing to one.
    pub probabilities: Vec<f64>,
    /// `1 - Σ exp(L_i)`: probability of all other continuations.
    pub outside_mass: f64,
}

impl Posterior {
    fn new(logprobs: Vec<f64>) -> Self {
        let total = log_sum_exp(&logprobs);
        Posterior {
            probabilities: logprobs.iter().map(|l| (l - total).exp()).collect(),
            outside_mass: (-total.exp_m1()).max(0.0),
            logprobs,
        }
    }

    /// `softmax(L_i - L_i(content-free))`: probabilities after contextual calibration, where `content_free` is the answer to
    /// the same choices after a prompt without content.
    pub fn calibrated(&self, content_free: &Posterior) -> Result<Vec<f64>> {
        if self.logprobs.len() != content_free.logprobs.len() {
            let (want, got) = (self.logprobs.len(), content_free.logprobs.len());
            return Err(Error::invalid(format!("calibration of {want} choices by an answer to {got}")));
        }
        let scores = self.logprobs.iter().zip(&content_free.logprobs).map(|(l, prior)| l - prior).collect();
        Ok(Posterior::new(scores).probabilities)
    }
}

/// `log Σ exp(x)`, summed in order.
pub(super) fn log_sum_exp(x: &[f64]) -> f64 {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + x.iter().map(|v| (v - top).exp()).sum::<f64>().ln() }
}

/// Log-probability of a token; rounding of the normaliser must not make it positive.
pub(super) fn log_prob(logit: f32, normaliser: f64) -> f64 {
    (f64::from(logit) - normaliser).min(0.0)
}

impl Decoder {
    /// The posterior of each request, in input order.
    pub fn choose(&mut self, requests: &[ChoiceRequest<'_>]) -> Vec<Result<Posterior>> {
        let tree_rows = self.options.tree_rows.clamp(1, 64);
        let jobs = requests.iter().map(|request| self.choice_job(request, tree_rows)).collect();
        let mut scored = self.run(jobs);
        // A choice deeper than a tree may be is read as a chain of its own.
        let mut places = Vec::new();
        let mut chains = Vec::new();
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| scored[*index].is_ok()) {
            for (choice, tokens) in request.choices.iter().enumerate() {
                if tokens.len() - 1 > tree_rows {
                    let ChoiceRequest { prompt, shared, adapter, .. } = *request;
                    places.push((index, choice));
                    chains.push(Continuation { prompt, shared, adapter, tokens });
                }
            }
        }
        for ((index, choice), score) in places.into_iter().zip(self.score(&chains)) {
            match (score, &mut scored[index]) {
                (Ok(tokens), Ok(scores)) => scores[choice] = tokens.iter().sum(),
                (Err(error), scores) => *scores = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
        scored.into_iter().map(|scores| scores.map(Posterior::new)).collect()
    }

    fn choice_job<'a>(&self, request: &ChoiceRequest<'a>, tree_rows: usize) -> Result<ChoiceJob<'a>> {
        let choices = request.choices;
        let longest = choices.iter().map(Vec::len).max().unwrap_or(0);
        if choices.iter().any(Vec::is_empty) || longest == 0 {
            return Err(Error::invalid("a choice request needs at least one choice, and each choice a token"));
        }
        let prompt = self.prompt(request.prompt, request.shared, request.adapter, longest - 1)?;
        let mut order: Vec<usize> = (0..choices.len()).collect();
        order.sort_by(|&a, &b| choices[a].cmp(&choices[b]));
        for pair in order.windows(2) {
            let (a, b) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            if choices[pair[0]] == choices[pair[1]] {
                return Err(Error::invalid(format!("choices {a} and {b} are the same tokens")));
            }
            if choices[pair[1]].starts_with(&choices[pair[0]]) {
                let why = "is the beginning of choice";
                return Err(Error::invalid(format!("choice {} {why} {}: it needs a terminator", pair[0], pair[1])));
            }
        }
        choices.iter().try_for_each(|choice| self.check_tokens("a choice", choice))?;
        order.retain(|&choice| choices[choice].len() - 1 <= tree_rows);
        Ok(ChoiceJob {
            prompt,
            choices,
            order,
            done: 0,
            tree_rows,
            part: Vec::new(),
            tree: Tree::default(),
            root: None,
            rows: Vec::new(),
            logprobs: vec![f64::NEG_INFINITY; choices.len()],
        })
    }
}

/// Choices in lexicographic order, as many per pass as the tree holds.
struct ChoiceJob<'a> {
    prompt: Prompt<'a>,
    choices: &'a [Vec<u32>],
    order: Vec<usize>,
    done: usize,
    tree_rows: usize,
    /// This pass's choices: which, and the node of each token but the last.
    part: Vec<(usize, Vec<u32>)>,
    tree: Tree,
    root: Option<RowId>,
    rows: Vec<RowId>,
    logprobs: Vec<f64>,
}

impl Job for ChoiceJob<'_> {
    type Output = Vec<f64>;

    fn prompt(&self) -> Prompt<'_> {
        self.prompt
    }

    fn plan(&mut self, _drafts: usize) -> Result<Plan> {
        self.tree = Tree::default();
        self.part.clear();
        while let Some(&choice) = self.order.get(self.done) {
            let tokens = &self.choices[choice];
            let path = &tokens[..tokens.len() - 1];
            if self.tree.len() + self.tree.missing(path) > self.tree_rows {
                break;
            }
            self.part.push((choice, self.tree.insert(path)));
            self.done += 1;
        }
        let chain = match self.root {
            None => self.prompt.tokens[self.prompt.tokens.len() - 1..].to_vec(),
            Some(_) => Vec::new(),
        };
        let keep = (0..(chain.len() + self.tree.len()) as u32).collect();
        Ok(Plan { chain, tree: self.tree.nodes().to_vec(), keep })
    }

    fn kept(&mut self, rows: Vec<RowId>) {
        let mut rows = rows.into_iter();
        if self.root.is_none() {
            self.root = rows.next();
        }
        self.rows = rows.collect();
    }

    fn questions(&mut self) -> Questions {
        let mut questions = Questions { logits: Vec::new(), normalisers: self.root.into_iter().collect() };
        questions.normalisers.extend(&self.rows);
        for (choice, nodes) in &self.part {
            let rows = self.root.into_iter().chain(nodes.iter().map(|&node| self.rows[node as usize]));
            questions.logits.extend(rows.zip(&self.choices[*choice]).map(|(row, &token)| (row, vec![token])));
        }
        questions
    }

    fn answer(&mut self, session: &mut dyn ModelSession, _: SequenceId, answers: Answers) -> Result<Next<Vec<f64>>> {
        let mut logits = answers.logits.iter().flatten();
        for (choice, nodes) in &self.part {
            let places = std::iter::once(0).chain(nodes.iter().map(|&node| node as usize + 1));
            self.logprobs[*choice] =
                places.zip(&mut logits).map(|(place, &logit)| log_prob(logit, answers.normalisers[place])).sum();
        }
        session.release_rows(&std::mem::take(&mut self.rows));
        if self.done < self.order.len() {
            return Ok(Next::Pass);
        }
        Ok(Next::Done(std::mem::take(&mut self.logprobs)))
    }

    fn take_rows(&mut self) -> Vec<RowId> {
        self.root.take().into_iter().chain(self.rows.drain(..)).collect()
    }
}

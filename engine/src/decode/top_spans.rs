//! The likeliest spans of one label, exactly, by best-first search over the constraint.
//!
//! A span's score is `log p(span, then an end | prompt)` over the full vocabulary, where an end is a separator or terminator.
//! Log-probabilities only fall along a path, so a path's own is a bound for all that begins with it: once the best entry of
//! the frontier is a whole span, no other can beat it. Each pass computes the best open paths together as a tree.

use super::batch::{Answers, Job, Next, Plan, Prompt, Questions};
use super::choice::{log_prob, log_sum_exp};
use super::decoder::Decoder;
use super::tree::{Place, Tree};
use super::{Constraint, StateId};
use crate::model::{AdapterId, ModelSession, RowId, SequenceId};
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nodes below a sequence in one pass, and with them the longest span that the search can follow.
const DEPTH: usize = 64;

/// A label whose likeliest spans are wanted.
pub struct SpanQuery<'a> {
    /// Tokens before the span, the label included.
    pub prompt: &'a [u32],
    /// Leading prompt tokens likely shared with other requests; cached.
    pub shared: usize,
    /// Adapter to compute with.
    pub adapter: Option<AdapterId>,
    /// What the answer may be.
    pub constraint: &'a mut dyn Constraint,
    /// Its state where the span begins.
    pub start: StateId,
    /// Tokens that end a span: the first of the separator, the newline, the terminator.
    pub ends: &'a [u32],
    /// Tokens of the answer that there is no span.
    pub none: &'a [u32],
    /// How many spans are wanted.
    pub count: usize,
}

/// A span and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its tokens, without the end.
    pub tokens: Vec<u32>,
    /// Natural log-probability of the tokens followed by any end.
    pub logprob: f64,
}

/// The likeliest spans of one label.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopSpans {
    /// Best first, lower tokens first among equals; fewer than asked for where there are no more.
    pub spans: Vec<Candidate>,
    /// Natural log-probability of "no span" followed by any end, negative infinity where that is not allowed.
    pub none: f64,
    /// `P(a span begins) / (P(a span begins) + P("no span" begins))`, by the first token alone.
    pub presence: f64,
    /// Passes taken.
    pub passes: usize,
}

impl Decoder {
    /// The likeliest spans of each query, in input order.
    pub fn top_spans(&mut self, queries: &mut [SpanQuery<'_>]) -> Vec<Result<TopSpans>> {
        let max_positions = self.options.max_positions;
        let jobs = queries.iter_mut().map(|query| {
            let prompt = self.prompt(query.prompt, query.shared, query.adapter, 0)?;
            let root = Path { urgent: true, whole: false, logprob: 0.0, tokens: Vec::new(), state: query.start };
            Ok(SearchJob {
                prompt,
                constraint: &mut *query.constraint,
                ends: query.ends,
                none: query.none,
                count: query.count,
                max_positions,
                frontier: BinaryHeap::from([root]),
                found: TopSpans { none: f64::NEG_INFINITY, ..TopSpans::default() },
                picks: Vec::new(),
                rows: Vec::new(),
            })
        });
        let jobs = jobs.collect();
        self.run(jobs)
    }
}

/// A whole span with its end, or the beginning of some.
#[derive(Debug)]
struct Path {
    /// Begins "no span", which is always followed to its end.
    urgent: bool,
    whole: bool,
    logprob: f64,
    tokens: Vec<u32>,
    state: StateId,
}

impl Ord for Path {
    /// Greater is sooner; at equal scores open paths go first, since they may end in as good a span.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.urgent.cmp(&other.urgent).then(self.logprob.total_cmp(&other.logprob));
        by_score.then(other.whole.cmp(&self.whole)).then_with(|| other.tokens.cmp(&self.tokens))
    }
}
impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Path {}

/// An open path in this pass: the places whose rows it needs (its own end, then those after forced tokens) and their states.
struct Pick {
    path: Path,
    places: Vec<(Place, StateId)>,
}

struct SearchJob<'a> {
    prompt: Prompt<'a>,
    constraint: &'a mut dyn Constraint,
    ends: &'a [u32],
    none: &'a [u32],
    count: usize,
    max_positions: usize,
    frontier: BinaryHeap<Path>,
    found: TopSpans,
    picks: Vec<Pick>,
    rows: Vec<RowId>,
}

impl SearchJob<'_> {
    /// Whether the search is over, after moving whole spans that none can beat to the result.
    fn over(&mut self) -> bool {
        while let Some(best) = self.frontier.peek() {
            if !best.urgent && self.found.spans.len() == self.count {
                return true;
            }
            if !best.whole {
                return false;
            }
            if let Some(Path { tokens, logprob, .. }) = self.frontier.pop() {
                self.found.spans.push(Candidate { tokens, logprob });
            }
        }
        true
    }

    /// Takes open paths, best first, as long as the tree has room and whole spans do not yet fill the result.
    fn pick(&mut self, rows: usize) -> Result<Tree> {
        let mut tree = Tree::default();
        let mut later = Vec::new();
        let mut wanted = self.count.saturating_sub(self.found.spans.len()).max(1);
        while wanted > 0 {
            let Some(path) = self.frontier.pop() else { break };
            if path.whole {
                wanted -= 1;
                later.push(path);
                continue;
            }
            if !self.picks.is_empty() && tree.len() + tree.missing(&path.tokens) > rows {
                later.push(path);
                break;
            }
            let (need, limit) = (self.prompt.tokens.len() + path.tokens.len(), self.max_positions);
            if need > limit {
                return Err(Error::TooLong { what: "the prompt with a span".into(), need, limit });
            }
            if path.tokens.len() > DEPTH {
                return Err(Error::unsupported(format!("ranking spans of more than {DEPTH} tokens")));
            }
            let mut place = tree.insert(&path.tokens).last().copied();
            let mut places = vec![(place, path.state)];
            let mut depth = path.tokens.len();
            while let Some((token, state)) = self.forced(places[places.len() - 1].1) {
                if tree.len() >= rows.min(DEPTH) || self.prompt.tokens.len() + depth >= limit {
                    break;
                }
                place = Some(tree.grow(place, token));
                places.push((place, state));
                depth += 1;
            }
            self.picks.push(Pick { path, places });
        }
        self.frontier.extend(later);
        Ok(tree)
    }

    /// The only token that may come next and the state after it, where it does not end the span.
    fn forced(&mut self, state: StateId) -> Option<(u32, StateId)> {
        let &[token] = self.constraint.allowed(state) else { return None };
        let next = self.constraint.advance(state, token)?;
        let ends = self.ends.contains(&token) || self.constraint.allowed(next).is_empty();
        (!ends).then_some((token, next))
    }

    /// Puts all continuations of a pick on the frontier; `answers` holds the log-probabilities of the tokens allowed at each
    /// of its places.
    fn expand(&mut self, pick: Pick, answers: &[Vec<f64>]) -> Result<()> {
        let Path { mut tokens, mut logprob, .. } = pick.path;
        for (at, (&(_, state), scores)) in pick.places.iter().zip(answers).enumerate() {
            let allowed = self.constraint.allowed(state).to_vec();
            if at + 1 < pick.places.len() {
                tokens.push(allowed[0]);
                logprob += scores[0];
                continue;
            }
            let mut ended = Vec::new();
            for (&token, score) in allowed.iter().zip(scores) {
                let refused = || Error::internal(format!("the constraint refused token {token} that it allowed"));
                let next = self.constraint.advance(state, token).ok_or_else(refused)?;
                if self.ends.contains(&token) || self.constraint.allowed(next).is_empty() {
                    ended.push(*score);
                    continue;
                }
                let tokens = [&tokens[..], &[token]].concat();
                let urgent = self.none.starts_with(&tokens);
                self.frontier.push(Path { urgent, whole: false, logprob: logprob + score, tokens, state: next });
            }
            if !ended.is_empty() && tokens == self.none {
                self.found.none = logprob + log_sum_exp(&ended);
            } else if !ended.is_empty() {
                let logprob = logprob + log_sum_exp(&ended);
                self.frontier.push(Path { urgent: false, whole: true, logprob, tokens: tokens.clone(), state });
            }
        }
        Ok(())
    }

    /// The presence of a span, from the log-probabilities of the tokens allowed first.
    fn presence(&mut self, start: StateId, scores: &[f64]) -> f64 {
        let allowed = self.constraint.allowed(start).iter().zip(scores);
        let (none, any): (Vec<_>, Vec<_>) = allowed.partition(|(token, _)| self.none.first() == Some(token));
        let mass = |of: &[(&u32, &f64)]| of.iter().map(|(_, score)| score.exp()).sum::<f64>();
        let (none, any) = (mass(&none), mass(&any));
        if any == 0.0 { 0.0 } else { any / (any + none) }
    }
}

impl Job for SearchJob<'_> {
    type Output = TopSpans;

    fn prompt(&self) -> Prompt<'_> {
        self.prompt
    }

    fn plan(&mut self, drafts: usize) -> Result<Plan> {
        let tree = self.pick(drafts.clamp(1, DEPTH))?;
        let first = self.found.passes == 0;
        self.found.passes += 1;
        let chain = if first { self.prompt.tokens[self.prompt.tokens.len() - 1..].to_vec() } else { Vec::new() };
        let mut keep: Vec<u32> = self.picks.iter().flat_map(|p| &p.places).filter_map(|(place, _)| *place).collect();
        if first {
            keep.iter_mut().for_each(|row| *row += 1);
            keep.insert(0, 0);
        }
        Ok(Plan { chain, tree: tree.nodes().to_vec(), keep })
    }

    fn kept(&mut self, rows: Vec<RowId>) {
        self.rows = rows;
    }

    fn questions(&mut self) -> Questions {
        let places = self.picks.iter().flat_map(|pick| &pick.places);
        let logits =
            self.rows.iter().zip(places).map(|(&row, &(_, state))| (row, self.constraint.allowed(state).to_vec()));
        Questions { logits: logits.collect(), normalisers: self.rows.clone() }
    }

    fn answer(&mut self, session: &mut dyn ModelSession, _: SequenceId, answers: Answers) -> Result<Next<TopSpans>> {
        session.release_rows(&std::mem::take(&mut self.rows));
        let scores: Vec<Vec<f64>> = (answers.logits.iter().zip(&answers.normalisers))
            .map(|(logits, &normaliser)| logits.iter().map(|&x| log_prob(x, normaliser)).collect())
            .collect();
        if self.found.passes == 1 {
            self.found.presence = self.presence(self.picks[0].path.state, &scores[0]);
        }
        let mut scores = &scores[..];
        for pick in std::mem::take(&mut self.picks) {
            let (of_pick, rest) = scores.split_at(pick.places.len());
            self.expand(pick, of_pick)?;
            scores = rest;
        }
        Ok(if self.over() { Next::Done(std::mem::take(&mut self.found)) } else { Next::Pass })
    }

    fn take_rows(&mut self) -> Vec<RowId> {
        std::mem::take(&mut self.rows)
    }
}

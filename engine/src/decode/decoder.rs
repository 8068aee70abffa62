//! The decoder: one model session, the options of decoding, and the checks every request passes.

use super::batch::Prompt;
use super::halt::Halt;
use super::prefix::PrefixCache;
use crate::model::{AdapterId, ModelSession};
use crate::weights::ModelConfig;
use crate::{Error, Result};

/// How an answer is generated. Both give the same tokens and the same bits of every score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One token per pass: the reference.
    Plain,
    /// Forced tokens and drafted continuations ride along, and are kept where they are what the model says.
    #[default]
    Speculative,
}

/// What is computed beside the tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scores {
    /// Nothing.
    None,
    /// The full-vocabulary log-probability of each token.
    #[default]
    LogProb,
    /// And the probability that the constraint kept at each step.
    LogProbAndMass,
}

/// Limits of the model and knobs of decoding. Only `scores` changes what an answer holds, the others its speed.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderOptions {
    /// Longest sequence, in tokens.
    pub max_positions: usize,
    /// Number of tokens of the vocabulary.
    pub vocab_size: usize,
    /// Plain or speculative.
    pub mode: Mode,
    /// What to compute beside tokens.
    pub scores: Scores,
    /// Drafted rows per pass, shared by the live sequences: as many as the device computes at little cost.
    pub draft_rows: usize,
    /// Cost of a row relative to a pass: a draft is worth its rows while its probability per row is above it.
    pub draft_floor: f64,
    /// Nodes of a tree of choices per sequence and pass, 1 to 64; more choices take more passes.
    pub tree_rows: usize,
    /// Prompt rows per pass.
    pub pass_rows: usize,
    /// Sequences decoded together.
    pub live_sequences: usize,
    /// Tokens of shared prefixes that stay cached between calls.
    pub prefix_tokens: usize,
}

impl DecoderOptions {
    /// Options for a model of this shape on a processor, where rows are cheap up to a dozen.
    pub fn new(config: &ModelConfig) -> Self {
        DecoderOptions {
            max_positions: config.max_positions,
            vocab_size: config.vocab_size,
            mode: Mode::default(),
            scores: Scores::default(),
            draft_rows: 12,
            // 5 to 10 passes for 5 labels with spans, against 6 to 11 at 0.05 for as many rows (demo model).
            draft_floor: 0.02,
            tree_rows: 64,
            pass_rows: 512,
            live_sequences: 8,
            prefix_tokens: 4096,
        }
    }
}

/// Requests in, answers out, over one [`ModelSession`]: one thread's work.
pub struct Decoder {
    pub(super) session: Box<dyn ModelSession>,
    pub(super) options: DecoderOptions,
    pub(super) prefixes: PrefixCache,
    pub(super) halt: Halt,
}

impl Decoder {
    /// A decoder that owns `session`.
    pub fn new(session: Box<dyn ModelSession>, options: DecoderOptions) -> Self {
        let prefixes = PrefixCache::new(options.prefix_tokens);
        Decoder { session, options, prefixes, halt: Halt::default() }
    }

    /// The options; those of the model's limits and `prefix_tokens` are read at construction only.
    pub fn options(&self) -> &DecoderOptions {
        &self.options
    }

    /// Changes what answers hold from the next call on.
    pub fn set_scores(&mut self, scores: Scores) {
        self.options.scores = scores;
    }

    /// Changes how answers are generated from the next call on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.options.mode = mode;
    }

    /// What ends open requests early, from the next call on.
    pub fn halt_by(&mut self, halt: Halt) {
        self.halt = halt;
    }

    /// Forgets cached prefixes that were computed with an adapter for which `gone` holds, so that nothing keeps it resident.
    pub fn forget_prefixes(&mut self, gone: impl Fn(Option<AdapterId>) -> bool) {
        self.prefixes.forget(&mut *self.session, gone);
    }

    /// A prompt that fits, followed by `after` further rows.
    pub(super) fn prompt<'a>(
        &self,
        tokens: &'a [u32],
        shared: usize,
        adapter: Option<AdapterId>,
        after: usize,
    ) -> Result<Prompt<'a>> {
        if tokens.is_empty() {
            return Err(Error::invalid("the prompt has no token, at least one is needed"));
        }
        if shared > tokens.len() {
            return Err(Error::invalid(format!("{shared} prompt tokens are shared, the prompt has {}", tokens.len())));
        }
        self.check_tokens("the prompt", tokens)?;
        let (need, limit) = (tokens.len() + after, self.options.max_positions);
        if need > limit {
            let what = if after == 0 { "the prompt" } else { "the prompt with its longest choice" };
            return Err(Error::TooLong { what: what.into(), need, limit });
        }
        Ok(Prompt { tokens, shared, adapter })
    }

    pub(super) fn check_tokens(&self, what: &str, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|&&token| token as usize >= self.options.vocab_size) {
            Some(token) => {
                let size = self.options.vocab_size;
                Err(Error::invalid(format!("{what} holds token {token}, the vocabulary has {size}")))
            }
            None => Ok(()),
        }
    }
}

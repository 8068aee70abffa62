//! A model whose next-token logits are a hash of everything read so far: cheap, exact, and strict about how it is used.

use super::{Constraint, StateId};
use crate::model::{AdapterId, LanguageModel, ModelSession, RowId, SequenceId, Step, TreeNode};
use crate::weights::{AdapterPart, Architecture, ModelConfig};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// What a session did and still holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Counts {
    pub sequences: usize,
    pub rows: usize,
    pub passes: usize,
    pub computed: usize,
    pub widest: usize,
}

pub struct Toy {
    config: ModelConfig,
    seed: u64,
    /// Forward fails where a step reads this token.
    pub poison: Option<u32>,
    /// Set after this many passes.
    pub trip: Option<(usize, Arc<std::sync::atomic::AtomicBool>)>,
    pub counts: Arc<Mutex<Counts>>,
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Toy {
    pub fn new(seed: u64, vocab_size: usize, max_positions: usize) -> Self {
        let config = ModelConfig {
            architecture: Architecture::Mistral,
            hidden_size: 8,
            intermediate_size: 8,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_dim: 8,
            vocab_size,
            rope_theta: 1e4,
            rms_norm_eps: 1e-5,
            sliding_window: None,
            max_positions,
            tied_head: false,
        };
        Toy { config, seed, poison: None, trip: None, counts: Arc::default() }
    }

    fn hidden(&self, adapter: Option<AdapterId>, history: &[u32]) -> u64 {
        let start = mix(self.seed ^ adapter.map_or(0, |a| 1 + u64::from(a.0)));
        history.iter().fold(start, |h, &token| mix(h.wrapping_mul(31) ^ u64::from(token)))
    }

    /// Logits after `history`, on a coarse grid so that some are equal.
    pub fn logits(&self, adapter: Option<AdapterId>, history: &[u32]) -> Vec<f32> {
        self.row(self.hidden(adapter, history))
    }

    fn row(&self, hidden: u64) -> Vec<f32> {
        let logit = |token: u64| (mix(hidden ^ mix(token)) % 29) as f32 / 4.0;
        (0..self.config.vocab_size as u64).map(logit).collect()
    }

    /// Log-probabilities after `history`, the plain way.
    pub fn log_probs(&self, adapter: Option<AdapterId>, history: &[u32]) -> Vec<f64> {
        let logits = self.logits(adapter, history);
        let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        logits.iter().map(|&x| f64::from(x) - total.ln()).collect()
    }
}

impl LanguageModel for Toy {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn fingerprint(&self) -> String {
        "toy".into()
    }

    fn session(self: Arc<Self>) -> Result<Box<dyn ModelSession>> {
        Ok(Box::new(ToySession { model: self, sequences: HashMap::new(), rows: HashMap::new(), made: 0 }))
    }

    fn load_adapter(&self, _: &[AdapterPart]) -> Result<AdapterId> {
        Err(Error::unsupported("adapters of the toy model"))
    }

    fn unload_adapter(&self, _: AdapterId) -> bool {
        false
    }
}

struct Sequence {
    adapter: Option<AdapterId>,
    tokens: Vec<u32>,
    flight: Vec<TreeNode>,
}

struct ToySession {
    model: Arc<Toy>,
    sequences: HashMap<u64, Sequence>,
    rows: HashMap<u32, u64>,
    made: u64,
}

impl ToySession {
    fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.model.counts.lock().unwrap();
        change(&mut counts);
        counts.sequences = self.sequences.len();
        counts.rows = self.rows.len();
    }
}

impl ModelSession for ToySession {
    fn sequence(&mut self, adapter: Option<AdapterId>) -> Result<SequenceId> {
        if adapter == Some(AdapterId(99)) {
            return Err(Error::invalid("no such adapter"));
        }
        let id = self.next();
        self.sequences.insert(id, Sequence { adapter, tokens: Vec::new(), flight: Vec::new() });
        self.count(|_| ());
        Ok(SequenceId(id))
    }

    fn fork(&mut self, from: SequenceId, len: usize) -> Result<SequenceId> {
        let Sequence { adapter, tokens, .. } = &self.sequences[&from.0];
        let fork = Sequence { adapter: *adapter, tokens: tokens[..len].to_vec(), flight: Vec::new() };
        let id = self.next();
        self.sequences.insert(id, fork);
        self.count(|_| ());
        Ok(SequenceId(id))
    }

    fn len(&self, sequence: SequenceId) -> usize {
        self.sequences[&sequence.0].tokens.len()
    }

    fn release(&mut self, sequence: SequenceId) {
        assert!(self.sequences.remove(&sequence.0).is_some(), "released twice");
        self.count(|_| ());
    }

    fn forward(&mut self, steps: &[Step<'_>]) -> Result<Vec<RowId>> {
        assert!(!steps.is_empty(), "an empty pass");
        let poisoned = |s: &Step<'_>| {
            let read = s.chain.iter().copied().chain(s.tree.iter().map(|n| n.token));
            self.model.poison.is_some_and(|bad| read.into_iter().any(|t| t == bad))
        };
        if steps.iter().any(poisoned) {
            return Err(Error::Device { op: "forward".into(), code: 1 });
        }
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        let mut computed = 0;
        for step in steps {
            assert!(seen.insert(step.sequence), "a sequence twice in one pass");
            assert!(!step.chain.is_empty() || !step.tree.is_empty(), "a step without rows");
            assert!(step.tree.len() <= 64, "{} nodes", step.tree.len());
            let sequence = self.sequences.get_mut(&step.sequence.0).expect("a dead sequence");
            let mut hidden = Vec::new();
            for &token in step.chain {
                sequence.tokens.push(token);
                hidden.push(self.model.hidden(sequence.adapter, &sequence.tokens));
            }
            assert!(
                step.chain
                    .iter()
                    .chain(step.tree.iter().map(|n| &n.token))
                    .all(|&t| (t as usize) < self.model.config.vocab_size)
            );
            for (place, node) in step.tree.iter().enumerate() {
                assert!(node.parent.is_none_or(|p| (p as usize) < place), "a parent after its child");
                let mut path = vec![node.token];
                let mut parent = node.parent;
                while let Some(p) = parent {
                    path.push(step.tree[p as usize].token);
                    parent = step.tree[p as usize].parent;
                }
                assert!(
                    sequence.tokens.len() + path.len() <= self.model.config.max_positions,
                    "past the last position"
                );
                let mut history = sequence.tokens.clone();
                history.extend(path.iter().rev());
                hidden.push(self.model.hidden(sequence.adapter, &history));
            }
            assert!(sequence.tokens.len() <= self.model.config.max_positions, "past the last position");
            sequence.flight = step.tree.to_vec();
            assert!(step.keep.windows(2).all(|pair| pair[0] < pair[1]), "rows kept twice");
            kept.extend(step.keep.iter().map(|&row| hidden[row as usize]));
            computed += hidden.len();
        }
        let ids: Vec<RowId> = kept.iter().map(|_| RowId(self.next() as u32)).collect();
        self.rows.extend(ids.iter().map(|id| id.0).zip(kept));
        self.count(|counts| {
            counts.passes += 1;
            counts.computed += computed;
            counts.widest = counts.widest.max(computed);
        });
        if let Some((after, flag)) = &self.model.trip {
            flag.store(self.model.counts.lock().unwrap().passes >= *after, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(ids)
    }

    fn commit(&mut self, sequence: SequenceId, path: &[u32]) -> Result<()> {
        let sequence = self.sequences.get_mut(&sequence.0).expect("a dead sequence");
        let flight = std::mem::take(&mut sequence.flight);
        let mut parent = None;
        for &node in path {
            assert_eq!(flight[node as usize].parent, parent, "not a path");
            sequence.tokens.push(flight[node as usize].token);
            parent = Some(node);
        }
        Ok(())
    }

    fn logits(&mut self, asks: &[(RowId, &[u32])]) -> Result<Vec<f32>> {
        assert!(asks.iter().all(|(_, tokens)| !tokens.is_empty()));
        let of = |(row, tokens): &(RowId, &[u32])| {
            let logits = self.model.row(self.rows[&row.0]);
            tokens.iter().map(|&t| logits[t as usize]).collect::<Vec<_>>()
        };
        Ok(asks.iter().flat_map(of).collect())
    }

    fn normalisers(&mut self, rows: &[RowId]) -> Result<Vec<f64>> {
        let of = |row: &RowId| self.model.row(self.rows[&row.0]).iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        Ok(rows.iter().map(of).collect())
    }

    fn all_logits(&mut self, row: RowId) -> Result<Vec<f32>> {
        Ok(self.model.row(self.rows[&row.0]))
    }

    fn release_rows(&mut self, rows: &[RowId]) {
        for row in rows {
            assert!(self.rows.remove(&row.0).is_some(), "a row released twice");
        }
        self.count(|_| ());
    }

    fn cache_bytes(&self) -> usize {
        self.sequences.values().map(|s| s.tokens.len()).sum()
    }
}

/// An acyclic automaton: state `i` goes by each token to a later state, the last is final.
#[derive(Debug, Clone)]
pub struct Automaton {
    pub edges: Vec<Vec<(u32, u32)>>,
    allowed: Vec<Vec<u32>>,
    pub asides: HashMap<u32, Vec<u32>>,
}

impl Automaton {
    /// Names an aside at `state`: its path by first or last edges, at most `steps` of them, then `end`.
    pub fn put_aside(&mut self, state: u32, steps: usize, last: bool, end: u32) {
        let (mut at, mut tokens) = (state as usize, Vec::new());
        for _ in 0..steps {
            let edge = if last { self.edges[at].last() } else { self.edges[at].first() };
            let Some(&(token, to)) = edge else { break };
            if self.edges[to as usize].is_empty() {
                break;
            }
            tokens.push(token);
            at = to as usize;
        }
        tokens.push(end);
        self.asides.insert(state, tokens);
    }

    pub fn new(mut edges: Vec<Vec<(u32, u32)>>) -> Self {
        for of in &mut edges {
            of.sort();
            of.dedup_by_key(|(token, _)| *token);
        }
        let allowed = edges.iter().map(|of| of.iter().map(|(token, _)| *token).collect()).collect();
        Automaton { edges, allowed, asides: HashMap::new() }
    }
}

impl Constraint for Automaton {
    fn start(&self) -> StateId {
        StateId(0)
    }

    fn allowed(&mut self, state: StateId) -> &[u32] {
        &self.allowed[state.0 as usize]
    }

    fn advance(&mut self, state: StateId, token: u32) -> Option<StateId> {
        let of = &self.edges[state.0 as usize];
        of.iter().find(|(t, _)| *t == token).map(|(_, to)| StateId(*to))
    }

    fn aside(&mut self, state: StateId) -> Option<Vec<u32>> {
        self.asides.get(&state.0).cloned()
    }
}

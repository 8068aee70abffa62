//! One thread's work on a model: sequences in the paged cache, passes, kept rows.

use super::adapter::{Adapter, AdapterRows};
use super::kept::KeptRows;
use super::mistral::{Mistral, Scratch};
use super::pages::PagePool;
use super::{AdapterId, ModelSession, RowId, SequenceId, Step, TreeNode};
use crate::device::{Device, Layout, SequenceRows};
use crate::{Error, Result};
use half::bf16;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Most rows of one pass; longer chains run as several passes with the same bits. Bounds the activations' memory.
pub(crate) const PASS_ROWS: usize = 1024;

/// Most nodes of a tree: its ancestor sets are 64-bit words.
const TREE_NODES: usize = 64;

struct Sequence<D: Device> {
    pages: Vec<u32>,
    len: usize,
    /// Parents of the nodes in flight, in slots `len..`.
    in_flight: Vec<Option<u32>>,
    adapter: Option<Arc<Adapter<D>>>,
}

/// Cache, scratch and kept rows over a shared [`Mistral`].
pub(super) struct Session<D: Device> {
    model: Arc<Mistral<D>>,
    kv: D::Kv,
    pool: PagePool,
    sequences: BTreeMap<SequenceId, Sequence<D>>,
    next: u64,
    scratch: Scratch<D>,
    kept: D::Buffer<bf16>,
    kept_rows: KeptRows,
}

/// A part of a step that runs in one pass.
struct Piece<'a> {
    step: usize,
    chain: &'a [u32],
    chain_at: usize,
    tree: &'a [TreeNode],
}

impl<D: Device> Session<D> {
    pub(super) fn new(model: Arc<Mistral<D>>) -> Result<Self> {
        let c = &model.config;
        Ok(Self {
            kv: model.device.kv(c.layers, c.kv_heads, c.head_dim)?,
            pool: PagePool::default(),
            sequences: BTreeMap::new(),
            next: 0,
            scratch: model.scratch()?,
            kept: model.device.buffer(0)?,
            kept_rows: KeptRows::default(),
            model,
        })
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence<D>> {
        self.sequences.get(&id).ok_or_else(|| unknown(id))
    }

    fn insert(&mut self, sequence: Sequence<D>) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        self.sequences.insert(id, sequence);
        id
    }

    /// Refuses what cannot run, before anything changes.
    fn check(&self, steps: &[Step<'_>]) -> Result<()> {
        let config = &self.model.config;
        let mut seen = BTreeSet::new();
        for step in steps {
            let sequence = self.get(step.sequence)?;
            if !seen.insert(step.sequence) {
                return Err(Error::invalid(format!("sequence {} stands twice in a pass", step.sequence.0)));
            }
            let rows = step.chain.len() + step.tree.len();
            if rows == 0 {
                return Err(Error::invalid(format!("sequence {} adds no token to the pass", step.sequence.0)));
            }
            if step.tree.len() > TREE_NODES {
                let got = step.tree.len();
                return Err(Error::invalid(format!("a tree has at most {TREE_NODES} nodes in a pass, found {got}")));
            }
            if let Some(n) = (0..step.tree.len()).find(|&n| step.tree[n].parent.is_some_and(|p| p as usize >= n)) {
                return Err(Error::invalid(format!("the parent of tree node {n} must come before it")));
            }
            let mut tokens = step.chain.iter().copied().chain(step.tree.iter().map(|n| n.token));
            if let Some(token) = tokens.find(|&t| t as usize >= config.vocab_size) {
                return Err(Error::invalid(format!(
                    "token {token} is outside the vocabulary of {}",
                    config.vocab_size
                )));
            }
            if let Some(row) = step.keep.iter().find(|&&k| k as usize >= rows) {
                return Err(Error::invalid(format!("row {row} is to be kept of a step with {rows} rows")));
            }
            let deepest = depths(step.tree).into_iter().map(|d| d + 1).max().unwrap_or(0);
            let need = sequence.len + step.chain.len() + deepest;
            if need > config.max_positions {
                return Err(Error::TooLong { what: "the sequence".into(), need, limit: config.max_positions });
            }
        }
        Ok(())
    }

    /// Cuts the steps into passes of at most [`PASS_ROWS`] rows; a tree runs with the end of its chain or after it.
    fn passes<'a>(steps: &[Step<'a>]) -> Vec<Vec<Piece<'a>>> {
        let mut passes: Vec<Vec<Piece<'a>>> = Vec::new();
        let mut room = 0;
        for (step, s) in steps.iter().enumerate() {
            let (mut at, mut done) = (0, false);
            while !done {
                if room == 0 {
                    passes.push(Vec::new());
                    room = PASS_ROWS;
                }
                let take = (s.chain.len() - at).min(room);
                let chain_ends = at + take == s.chain.len();
                done = chain_ends && take + s.tree.len() <= room;
                let tree = if done { s.tree } else { &[] };
                if take + tree.len() > 0
                    && let Some(pass) = passes.last_mut()
                {
                    pass.push(Piece { step, chain: &s.chain[at..at + take], chain_at: at, tree });
                }
                at += take;
                // A tree that does not fit beside its chain waits for a fresh pass.
                room = if chain_ends && !done { 0 } else { room - take - tree.len() };
            }
        }
        passes
    }

    /// Gives the sequence pages of its own for slots `len..len + rows`.
    fn own_slots(&mut self, id: SequenceId, rows: usize) -> Result<()> {
        let page = self.model.device.kv_page();
        let Some(sequence) = self.sequences.get_mut(&id) else { return Err(unknown(id)) };
        let first = sequence.len / page;
        if let Some(&shared) = sequence.pages.get(first)
            && self.pool.shared(shared)
        {
            let own = self.pool.take()?;
            let (device, kv) = (&self.model.device, &mut self.kv);
            let copied = device
                .kv_reserve(kv, self.pool.len())
                .and_then(|()| device.kv_copy(kv, shared, own, sequence.len % page));
            if let Err(error) = copied {
                self.pool.drop(own);
                return Err(error);
            }
            sequence.pages[first] = own;
            self.pool.drop(shared);
        }
        while sequence.pages.len() * page < sequence.len + rows {
            sequence.pages.push(self.pool.take()?);
        }
        self.model.device.kv_reserve(&mut self.kv, self.pool.len())
    }

    fn run(
        &mut self,
        steps: &[Step<'_>],
        pieces: &[Piece<'_>],
        rows: &mut [Option<RowId>],
        base: &[usize],
    ) -> Result<()> {
        let mut layout = Layout::default();
        let mut tokens = Vec::new();
        let mut adapters: AdapterRows<D> = Vec::new();
        // Packed rows to keep, and the places in `rows` they go to.
        let (mut keep, mut places) = (Vec::new(), Vec::new());
        for piece in pieces {
            let step = &steps[piece.step];
            self.own_slots(step.sequence, piece.chain.len() + piece.tree.len())?;
            let sequence = self.get(step.sequence)?;
            let row = tokens.len();
            let tree_at = piece.chain_at + piece.chain.len();
            let end = if piece.tree.is_empty() { tree_at } else { tree_at + piece.tree.len() };
            for (place, &k) in step.keep.iter().enumerate() {
                let k = k as usize;
                if (piece.chain_at..end).contains(&k) {
                    keep.push((row + k - piece.chain_at) as u32);
                    places.push(base[piece.step] + place);
                }
            }
            tokens.extend_from_slice(piece.chain);
            tokens.extend(piece.tree.iter().map(|n| n.token));
            let chain_end = sequence.len + piece.chain.len();
            layout.positions.extend((sequence.len..chain_end).map(|p| p as u32));
            layout.positions.extend(depths(piece.tree).into_iter().map(|d| (chain_end + d) as u32));
            if let Some(adapter) = &sequence.adapter {
                push_rows(&mut adapters, row..tokens.len(), adapter);
            }
            layout.sequences.push(SequenceRows {
                row,
                cached: sequence.len,
                chain: piece.chain.len(),
                tree: ancestors(piece.tree),
                pages: sequence.pages.clone(),
            });
        }
        let kept_row = self.kept_rows.take(keep.len());
        let ids = kept_row..kept_row + keep.len();
        let result = self.compute(&tokens, &layout, &adapters, &keep, kept_row);
        if let Err(error) = result {
            self.kept_rows.release(ids.map(|r| r as u32));
            return Err(error);
        }
        places.into_iter().zip(ids).for_each(|(place, id)| rows[place] = Some(RowId(id as u32)));
        for piece in pieces {
            if let Some(sequence) = self.sequences.get_mut(&steps[piece.step].sequence) {
                sequence.len += piece.chain.len();
                sequence.in_flight = piece.tree.iter().map(|n| n.parent).collect();
            }
        }
        Ok(())
    }

    fn compute(
        &mut self,
        tokens: &[u32],
        layout: &Layout,
        adapters: &AdapterRows<D>,
        keep: &[u32],
        kept_row: usize,
    ) -> Result<()> {
        let (model, kv, scratch, kept) = (&self.model, &mut self.kv, &mut self.scratch, &mut self.kept);
        model.device.reserve(kept, self.kept_rows.len() * model.config.hidden_size)?;
        model.device.pass(|| model.forward(scratch, kv, tokens, layout, adapters, keep, kept, kept_row))
    }

    fn check_rows(&self, mut rows: impl Iterator<Item = RowId>) -> Result<()> {
        match rows.find(|r| !self.kept_rows.holds(r.0)) {
            Some(row) => Err(Error::invalid(format!("row {} is not kept", row.0))),
            None => Ok(()),
        }
    }
}

impl<D: Device> ModelSession for Session<D> {
    fn sequence(&mut self, adapter: Option<AdapterId>) -> Result<SequenceId> {
        let adapter = adapter.map(|id| self.model.adapter(id)).transpose()?;
        Ok(self.insert(Sequence { pages: Vec::new(), len: 0, in_flight: Vec::new(), adapter }))
    }

    fn fork(&mut self, from: SequenceId, len: usize) -> Result<SequenceId> {
        let page = self.model.device.kv_page();
        let source = self.get(from)?;
        if len > source.len {
            return Err(Error::invalid(format!("a fork of {len} tokens of a sequence that has {}", source.len)));
        }
        let pages = source.pages[..len.div_ceil(page)].to_vec();
        let adapter = source.adapter.clone();
        pages.iter().for_each(|&p| self.pool.share(p));
        Ok(self.insert(Sequence { pages, len, in_flight: Vec::new(), adapter }))
    }

    fn len(&self, sequence: SequenceId) -> usize {
        self.sequences.get(&sequence).map_or(0, |s| s.len)
    }

    fn release(&mut self, sequence: SequenceId) {
        if let Some(sequence) = self.sequences.remove(&sequence) {
            sequence.pages.into_iter().for_each(|p| self.pool.drop(p));
        }
    }

    fn forward(&mut self, steps: &[Step<'_>]) -> Result<Vec<RowId>> {
        self.check(steps)?;
        let base: Vec<usize> = steps
            .iter()
            .scan(0, |sum, s| {
                let at = *sum;
                *sum += s.keep.len();
                Some(at)
            })
            .collect();
        let mut rows = vec![None; steps.iter().map(|s| s.keep.len()).sum()];
        let before: Vec<usize> = steps.iter().map(|s| self.len(s.sequence)).collect();
        for pass in Self::passes(steps) {
            if let Err(error) = self.run(steps, &pass, &mut rows, &base) {
                // As if nothing had run: lengths as before, no rows kept.
                self.kept_rows.release(rows.into_iter().flatten().map(|r| r.0));
                for (step, len) in steps.iter().zip(before) {
                    if let Some(sequence) = self.sequences.get_mut(&step.sequence) {
                        sequence.len = len;
                        sequence.in_flight.clear();
                    }
                }
                return Err(error);
            }
        }
        rows.into_iter().map(|r| r.ok_or_else(|| Error::internal("a row to keep was in no pass"))).collect()
    }

    fn commit(&mut self, sequence: SequenceId, path: &[u32]) -> Result<()> {
        let Some(s) = self.sequences.get_mut(&sequence) else { return Err(unknown(sequence)) };
        let mut parent = None;
        for &node in path {
            if s.in_flight.get(node as usize) != Some(&parent) {
                return Err(Error::invalid(format!("node {node} does not continue the path to commit")));
            }
            parent = Some(node);
        }
        let moves: Vec<(u32, u32)> = path
            .iter()
            .enumerate()
            .map(|(i, &node)| ((s.len + node as usize) as u32, (s.len + i) as u32))
            .filter(|(from, to)| from != to)
            .collect();
        if !moves.is_empty() {
            self.model.device.kv_move(&mut self.kv, &s.pages, &moves)?;
        }
        s.len += path.len();
        s.in_flight.clear();
        Ok(())
    }

    fn logits(&mut self, asks: &[(RowId, &[u32])]) -> Result<Vec<f32>> {
        self.check_rows(asks.iter().map(|(row, _)| *row))?;
        let vocabulary = self.model.config.vocab_size;
        if let Some(token) = asks.iter().flat_map(|(_, ids)| ids.iter()).find(|&&t| t as usize >= vocabulary) {
            return Err(Error::invalid(format!("token {token} is outside the vocabulary of {vocabulary}")));
        }
        let asks: Vec<(u32, &[u32])> = asks.iter().map(|(row, ids)| (row.0, *ids)).collect();
        let model = &self.model;
        model.device.pass(|| model.device.head_some(&self.kept, model.head(), &asks))
    }

    fn normalisers(&mut self, rows: &[RowId]) -> Result<Vec<f64>> {
        self.check_rows(rows.iter().copied())?;
        let rows: Vec<u32> = rows.iter().map(|r| r.0).collect();
        let model = &self.model;
        model.device.pass(|| model.device.head_lse(&self.kept, model.head(), &rows))
    }

    fn all_logits(&mut self, row: RowId) -> Result<Vec<f32>> {
        self.check_rows([row].into_iter())?;
        let model = &self.model;
        model.device.pass(|| model.device.head_all(&self.kept, model.head(), row.0))
    }

    fn release_rows(&mut self, rows: &[RowId]) {
        self.kept_rows.release(rows.iter().map(|r| r.0));
    }

    fn cache_bytes(&self) -> usize {
        self.pool.used() * self.model.device.kv_page_bytes(&self.kv)
    }
}

fn unknown(id: SequenceId) -> Error {
    Error::invalid(format!("no sequence {} in this session", id.0))
}

/// Depth of each node below the chain: 0 for a root.
fn depths(tree: &[TreeNode]) -> Vec<usize> {
    let mut depth = Vec::with_capacity(tree.len());
    for node in tree {
        depth.push(node.parent.map_or(0, |p| depth[p as usize] + 1));
    }
    depth
}

/// For each node the set of nodes it sees: its ancestors and itself.
fn ancestors(tree: &[TreeNode]) -> Vec<u64> {
    let mut sets = Vec::with_capacity(tree.len());
    for (n, node) in tree.iter().enumerate() {
        sets.push(node.parent.map_or(0, |p| sets[p as usize]) | 1 << n);
    }
    sets
}

/// Adds rows to the list, joined to the last range where it ends there with the same adapter.
fn push_rows<D: Device>(list: &mut AdapterRows<D>, rows: Range<usize>, adapter: &Arc<Adapter<D>>) {
    match list.last_mut() {
        Some((last, of)) if last.end == rows.start && Arc::ptr_eq(of, adapter) => last.end = rows.end,
        _ => list.push((rows, adapter.clone())),
    }
}

//! One pass of attention: its inputs, its launches and what f64 says of it.

#![allow(clippy::unwrap_used)]

use crate::harness::{Address, Device, Expected, Random};
use biomistral_nlu_kernels::attention_work::{PAGE, Sequence, Shape, plan};
use biomistral_nlu_kernels::params::{AttentionItem, AttentionParams, CombineParams, CombineRow};
use biomistral_nlu_kernels::table;
use half::bf16;
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// Heads and window.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub window: Option<usize>,
}

/// Keys and values of one sequence by slot, `[slots, G, D]`.
#[derive(Debug, Clone)]
pub struct Keys {
    pub k: Vec<bf16>,
    pub v: Vec<bf16>,
}

impl Keys {
    pub fn random(model: &Model, slots: usize, random: &mut Random) -> Self {
        let n = slots * model.kv_heads * model.head_dim;
        Keys { k: random.bf16s(n), v: random.bf16s(n) }
    }

    /// The keys in these slots, in this order.
    pub fn gather(&self, model: &Model, slots: &[usize]) -> Self {
        let width = model.kv_heads * model.head_dim;
        let pick = |from: &[bf16]| slots.iter().flat_map(|&s| from[s * width..(s + 1) * width].to_vec()).collect();
        Keys { k: pick(&self.k), v: pick(&self.v) }
    }
}

/// The rows of one sequence in a pass.
#[derive(Debug, Clone)]
pub struct Rows {
    pub cached: usize,
    pub chain: usize,
    pub tree: Vec<u64>,
    pub keys: Keys,
    /// `[rows, H, D]`.
    pub q: Vec<bf16>,
}

impl Rows {
    pub fn random(model: &Model, (cached, chain, tree): (usize, usize, Vec<u64>), random: &mut Random) -> Self {
        let rows = chain + tree.len();
        let keys = Keys::random(model, cached + rows, random);
        let q = random.bf16s(rows * model.heads * model.head_dim);
        Rows { cached, chain, tree, keys, q }
    }

    pub fn len(&self) -> usize {
        self.chain + self.tree.len()
    }

    /// Slots that row `row` sees, in order of position, without the window.
    pub fn slots(&self, row: usize) -> Vec<usize> {
        match row.checked_sub(self.chain) {
            None => (0..self.cached + row + 1).collect(),
            Some(node) => {
                let base = self.cached + self.chain;
                let nodes = (0..64).filter(|n| self.tree[node] >> n & 1 == 1).map(|n| base + n);
                (0..base).chain(nodes).collect()
            }
        }
    }

    /// Rows `rows` of a causal sequence as a pass of their own, the keys before them in the cache.
    pub fn part(&self, model: &Model, rows: Range<usize>) -> Self {
        let (width, first) = (model.kv_heads * model.head_dim, self.cached + rows.start);
        let end = (self.cached + rows.end) * width;
        let keys = Keys { k: self.keys.k[..end].to_vec(), v: self.keys.v[..end].to_vec() };
        let q = self.row(model, rows.clone());
        Rows { cached: first, chain: rows.len(), tree: vec![], keys, q }
    }

    /// Queries of some rows.
    pub fn row(&self, model: &Model, rows: Range<usize>) -> Vec<bf16> {
        let width = model.heads * model.head_dim;
        self.q[rows.start * width..rows.end * width].to_vec()
    }
}

/// Runs the pass and returns `[T, H, D]`. Page numbers are drawn with `seed`; whatever no row may see is NaN, strides are
/// larger than needed, and `o` is guarded.
pub fn attend(device: &Device, model: &Model, sequences: &[Rows], split_always: bool, seed: u64) -> Vec<bf16> {
    let Model { heads, kv_heads, head_dim, window } = *model;
    let mut random = Random::new(seed);
    let pages_of: Vec<usize> = sequences.iter().map(|s| (s.cached + s.len()).div_ceil(PAGE)).collect();
    let pool = pages_of.iter().sum::<usize>() + 3;
    let mut free: Vec<u32> = (0..pool as u32).collect();
    for i in (1..pool).rev() {
        free.swap(i, random.below(i + 1));
    }
    let mut pages: Vec<Vec<u32>> = pages_of.iter().map(|&n| free.split_off(free.len() - n)).collect();
    let nan = bf16::from_bits(0xffff);
    let head_elements = PAGE * head_dim;
    let mut cache = [vec![nan; pool * kv_heads * head_elements], vec![nan; pool * kv_heads * head_elements]];
    for (sequence, pages) in sequences.iter().zip(&mut pages) {
        // Nobody sees what lies before all windows: NaN in a page, and pages that are no longer there.
        let seen = (0..sequence.len()).map(|row| sequence.slots(row).len()).min().unwrap();
        let first = seen.saturating_sub(window.unwrap_or(seen));
        for slot in first..sequence.cached + sequence.len() {
            for head in 0..kv_heads {
                let to = (pages[slot / PAGE] as usize * kv_heads + head) * head_elements + slot % PAGE * head_dim;
                let from = (slot * kv_heads + head) * head_dim;
                cache[0][to..to + head_dim].copy_from_slice(&sequence.keys.k[from..from + head_dim]);
                cache[1][to..to + head_dim].copy_from_slice(&sequence.keys.v[from..from + head_dim]);
            }
        }
        pages[..first / PAGE].fill(u32::MAX);
    }
    let (mut positions, mut row) = (Vec::new(), 0);
    let mut described = Vec::new();
    for (sequence, pages) in sequences.iter().zip(&pages) {
        described.push(Sequence { row, cached: sequence.cached, chain: sequence.chain, tree: &sequence.tree, pages });
        positions.extend((0..sequence.len()).map(|r| sequence.slots(r).len() as u32 - 1));
        row += sequence.len();
    }
    let mut work = plan(&Shape { heads, kv_heads, head_dim, window, split_always }, &positions, &described);
    // Zeros fill the lists of a captured graph: nothing may come of them.
    work.prompt.push(AttentionItem::default());
    work.split.extend([AttentionItem::default(); 2]);
    work.combine.extend([CombineRow::default(); 2]);

    let width = heads * head_dim;
    let q: Vec<bf16> = sequences.iter().flat_map(|s| s.q.clone()).collect();
    let (ldq, ldo) = (width.next_multiple_of(8) + 8, width.next_multiple_of(8) + 16);
    let q = device.input(&q, width, ldq);
    let [k, v] = cache.map(|c| device.array(&c));
    let (positions, page_numbers) = (device.array(&positions), device.array(&work.pages));
    let out = device.output(&vec![nan; row * width], width, ldo);
    let partial_o = device.array(&vec![f32::NAN; work.partial_rows * head_dim]);
    let partial_ml = device.array(&vec![f32::NAN; work.partial_rows * 2]);
    let scale = (LOG2_E / (head_dim as f64).sqrt()) as f32;
    let (prompt, split) = table::attention(head_dim).unwrap();
    for (kernel, items) in [(prompt, &work.prompt), (split, &work.split)] {
        let list = device.array(pods(items));
        let params = AttentionParams {
            q: q.address(),
            k: k.address(),
            v: v.address(),
            out: out.address(),
            ldq: ldq as i64,
            ldo: ldo as i64,
            items: list.address(),
            positions: positions.address(),
            pages: page_numbers.address(),
            partial_o: partial_o.address(),
            partial_ml: partial_ml.address(),
            item_count: items.len() as i32,
            heads: heads as i32,
            kv_heads: kv_heads as i32,
            head_dim: head_dim as i32,
            window: window.unwrap_or(0) as u32,
            scale,
        };
        device.launch(kernel, &params);
    }
    let list = device.array(pods(&work.combine));
    let params = CombineParams {
        rows: list.address(),
        partial_o: partial_o.address(),
        partial_ml: partial_ml.address(),
        out: out.address(),
        ldo: ldo as i64,
        row_count: work.combine.len() as i32,
        heads: heads as i32,
        kv_heads: kv_heads as i32,
        head_dim: head_dim as i32,
    };
    device.launch(&table::ATTENTION_COMBINE, &params);
    device.read(&out)
}

/// The bytes of parameter structs.
fn pods<T>(values: &[T]) -> &[u8] {
    // SAFETY: the items of params.h are integers without padding between them.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// `softmax(q kᵀ / sqrt(D)) v` over the slots each row sees, in f64.
///
/// The kernel rounds a row's weights and its output to bf16, so it may be off by half an ulp (2^-8) of `Σ p|v|` and of the
/// output. Scores are sums of D products in f32: their error, `D` ulps of `Σ|q k|`, is relative in a weight.
pub fn oracle(model: &Model, sequences: &[Rows]) -> Vec<Expected> {
    let Model { heads, kv_heads, head_dim, window } = *model;
    let root = (head_dim as f64).sqrt();
    let mut all = Vec::new();
    for sequence in sequences {
        for row in 0..sequence.len() {
            let slots = sequence.slots(row);
            let slots = &slots[slots.len().saturating_sub(window.unwrap_or(slots.len()))..];
            for head in 0..heads {
                let q = &sequence.q[(row * heads + head) * head_dim..][..head_dim];
                let at = |slot: usize| (slot * kv_heads + head / (heads / kv_heads)) * head_dim;
                let products = |slot: usize| {
                    let k = &sequence.keys.k[at(slot)..][..head_dim];
                    q.iter().zip(k).map(|(a, b)| a.to_f64() * b.to_f64()).collect::<Vec<_>>()
                };
                let (mut scores, mut size) = (Vec::new(), 0f64);
                for &slot in slots {
                    let products = products(slot);
                    scores.push(products.iter().sum::<f64>() / root);
                    size = size.max(products.iter().map(|p| p.abs()).sum::<f64>() / root);
                }
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let relative = 1.02 * 2f64.powi(-8) + (head_dim + 16) as f64 * 2f64.powi(-24) * size;
                for column in 0..head_dim {
                    let value = |slot: usize| sequence.keys.v[at(slot) + column].to_f64();
                    let mix = |f: &dyn Fn(f64) -> f64| {
                        slots.iter().zip(&weights).map(|(&slot, w)| w * f(value(slot))).sum::<f64>() / sum
                    };
                    let (o, spread) = (mix(&|v| v), mix(&f64::abs));
                    all.push(Expected { value: o, within: relative * spread + 2f64.powi(-8) * o.abs() + 1e-30 });
                }
            }
        }
    }
    all
}

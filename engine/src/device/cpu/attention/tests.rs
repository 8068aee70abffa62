//! Attention against plain f64, and its bits against themselves in every other arrangement.

use super::super::{Cpu, CpuKv, CpuOptions, Isa, Team, kv::PAGE};
use super::attention;
use crate::device::{Attention, Layout, SequenceRows};
use half::bf16;
use proptest::prelude::*;

const LAYERS: usize = 2;

/// Heads and widths of a model.
#[derive(Debug, Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
}

/// A token stands for its query, key and value: `id` decides them.
#[derive(Debug, Clone, Default)]
struct Sequence {
    cached: Vec<u64>,
    chain: Vec<u64>,
    tree: Vec<(u64, Option<usize>)>,
    pages: Vec<u32>,
}

impl Sequence {
    fn ancestors(&self, node: usize) -> u64 {
        self.tree[node].1.map_or(0, |parent| self.ancestors(parent)) | 1 << node
    }

    /// The tokens that new row `row` sees, in order, itself last.
    fn path(&self, row: usize) -> Vec<u64> {
        let mut path = self.cached.clone();
        path.extend(&self.chain[..self.chain.len().min(row + 1)]);
        if let Some(node) = row.checked_sub(self.chain.len()) {
            let seen = self.ancestors(node);
            path.extend((0..=node).filter(|n| seen >> n & 1 == 1).map(|n| self.tree[n].0));
        }
        path
    }

    fn new_ids(&self) -> impl Iterator<Item = u64> {
        self.chain.iter().copied().chain(self.tree.iter().map(|node| node.0))
    }

    fn slots(&self) -> usize {
        self.cached.len() + self.chain.len() + self.tree.len()
    }
}

/// Values of about unit size; some large scores, so that maxima move.
fn vector(id: u64, what: u64, len: usize) -> Vec<f32> {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f32 / (1u64 << 30) as f32 - 1.0) * 1.7
    };
    for _ in 0..4 {
        next();
    }
    let size = if id.is_multiple_of(7) { 3.0 } else { 1.0 };
    (0..len).map(|_| bf16::from_f32(next() * size).to_f32()).collect()
}

fn queries(shape: &Shape, id: u64) -> Vec<f32> {
    vector(id, 1, shape.heads * shape.head_dim)
}

fn keys(shape: &Shape, id: u64) -> Vec<f32> {
    vector(id, 2, shape.kv_heads * shape.head_dim)
}

fn values(shape: &Shape, id: u64) -> Vec<f32> {
    vector(id, 3, shape.kv_heads * shape.head_dim)
}

fn cpu(isa: Isa, threads: usize) -> Cpu {
    Cpu::new(CpuOptions { isa: Some(isa), threads: Some(threads) }).unwrap()
}

fn isas() -> Vec<Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|&isa| isa <= Isa::detect()).collect()
}

fn layout(sequences: &[Sequence]) -> Layout {
    let mut layout = Layout::default();
    for sequence in sequences {
        let row = layout.positions.len();
        let rows = sequence.chain.len() + sequence.tree.len();
        layout.positions.extend((0..rows).map(|row| sequence.path(row).len() as u32 - 1));
        layout.sequences.push(SequenceRows {
            row,
            cached: sequence.cached.len(),
            chain: sequence.chain.len(),
            tree: (0..sequence.tree.len()).map(|node| sequence.ancestors(node)).collect(),
            pages: sequence.pages.clone(),
        });
    }
    layout
}

fn write(kv: &mut CpuKv, shape: &Shape, sequences: &[Sequence]) {
    let ids = || sequences.iter().flat_map(Sequence::new_ids);
    let k: Vec<f32> = ids().flat_map(|id| keys(shape, id)).collect();
    let v: Vec<f32> = ids().flat_map(|id| values(shape, id)).collect();
    kv.write(&Team::new(2).unwrap(), 1, &layout(sequences), &k, &v).unwrap();
}

/// Pages for every sequence that has none, in an order that is not sequential; writes what is cached.
fn fill(shape: &Shape, sequences: &mut [Sequence]) -> CpuKv {
    let mut kv = CpuKv::new(LAYERS, shape.kv_heads, shape.head_dim).unwrap();
    let mut used = 0;
    for sequence in sequences.iter_mut().filter(|sequence| sequence.pages.is_empty()) {
        let pages = sequence.slots().div_ceil(PAGE) as u32;
        sequence.pages = (used..used + pages).rev().collect();
        used += pages;
    }
    kv.reserve(used as usize).unwrap();
    cache(&mut kv, shape, sequences);
    kv
}

fn cache(kv: &mut CpuKv, shape: &Shape, sequences: &[Sequence]) {
    let past: Vec<Sequence> = sequences
        .iter()
        .map(|s| Sequence { chain: s.cached.clone(), pages: s.pages.clone(), ..Sequence::default() })
        .collect();
    write(kv, shape, &past);
}

/// Writes the new rows and attends; `[H·D]` per new row.
fn pass(cpu: &Cpu, kv: &mut CpuKv, shape: &Shape, sequences: &[Sequence]) -> Vec<Vec<bf16>> {
    write(kv, shape, sequences);
    attend(cpu, kv, shape, sequences)
}

fn attend(cpu: &Cpu, kv: &mut CpuKv, shape: &Shape, sequences: &[Sequence]) -> Vec<Vec<bf16>> {
    let layout = layout(sequences);
    let ids = sequences.iter().flat_map(Sequence::new_ids);
    let q: Vec<bf16> = ids.flat_map(|id| queries(shape, id)).map(bf16::from_f32).collect();
    let mut o = vec![bf16::NAN; q.len()];
    let mut at = Attention { kv, layer: 1, layout: &layout, heads: shape.heads, window: shape.window };
    attention(cpu, &q, &mut at, &mut o).unwrap();
    o.chunks(shape.heads * shape.head_dim).map(<[bf16]>::to_vec).collect()
}

fn run(cpu: &Cpu, shape: &Shape, sequences: &[Sequence]) -> Vec<Vec<bf16>> {
    let mut sequences = sequences.to_vec();
    let mut kv = fill(shape, &mut sequences);
    pass(cpu, &mut kv, shape, &sequences)
}

fn paths(sequences: &[Sequence]) -> impl Iterator<Item = Vec<u64>> {
    sequences.iter().flat_map(|s| (0..s.chain.len() + s.tree.len()).map(|row| s.path(row)))
}

/// Attention of a path's last token in f64, and the same with each number rounded to f32 and the weights and the result
/// to bf16, as a plain bf16 implementation has them.
fn reference(shape: &Shape, path: &[u64]) -> (Vec<f64>, Vec<f64>) {
    let d = shape.head_dim;
    let q = queries(shape, path[path.len() - 1]);
    let seen = &path[path.len() - shape.window.unwrap_or(path.len()).min(path.len())..];
    let (mut exact, mut rounded) = (Vec::new(), Vec::new());
    for head in 0..shape.heads {
        let kv = head / (shape.heads / shape.kv_heads) * d;
        let q = &q[head * d..][..d];
        let scores: Vec<f64> = seen
            .iter()
            .map(|&id| {
                let k = &keys(shape, id)[kv..kv + d];
                q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>() / (d as f64).sqrt()
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let (mut o, mut o16) = (vec![0f64; d], vec![0f32; d]);
        for (&id, w) in seen.iter().zip(&weights) {
            let p = bf16::from_f64(w / sum).to_f32();
            for (i, &v) in values(shape, id)[kv..kv + d].iter().enumerate() {
                o[i] += w / sum * f64::from(v);
                o16[i] += p * v;
            }
        }
        exact.extend(o);
        rounded.extend(o16.into_iter().map(|o| bf16::from_f32(o).to_f64()));
    }
    (exact, rounded)
}

/// Root of the summed squares over all rows: at most twice that of the plain bf16 implementation, and each element within
/// eight bf16 steps of the largest value, far below what one key too many or too few makes.
fn check_exact(shape: &Shape, sequences: &[Sequence], rows: &[Vec<bf16>]) {
    let (mut ours, mut plain) = (0.0, 0.0);
    for (row, path) in rows.iter().zip(paths(sequences)) {
        let (exact, rounded) = reference(shape, &path);
        let size = exact.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for ((o, exact), rounded) in row.iter().zip(exact).zip(rounded) {
            let error = o.to_f64() - exact;
            assert!(error.abs() <= 8.0 / 256.0 * size, "{o} for {exact} among values up to {size}");
            ours += error * error;
            plain += (rounded - exact) * (rounded - exact);
        }
    }
    assert!(ours.sqrt() <= 2.0 * plain.sqrt(), "error {} against {} in plain bf16", ours.sqrt(), plain.sqrt());
}

fn ids(seed: u64, len: usize) -> Vec<u64> {
    (0..len as u64).map(|i| seed.wrapping_mul(1_000_003).wrapping_add(i)).collect()
}

fn shapes() -> impl Strategy<Value = Shape> {
    let width = prop::sample::select(vec![2usize, 6, 8, 64, 80, 128]);
    let heads = (1usize..4, prop::sample::select(vec![1usize, 3, 4]));
    let window = prop::option::of(prop::sample::select(vec![1usize, 4, 8, 50]));
    (width, heads, window).prop_map(|(head_dim, (kv_heads, group), window)| Shape {
        heads: kv_heads * group,
        kv_heads,
        head_dim,
        window,
    })
}

fn sequences() -> impl Strategy<Value = Vec<Sequence>> {
    let cached = prop_oneof![Just(0usize), 1usize..40, 110usize..150, 250usize..300];
    let chain = prop_oneof![Just(0usize), 1usize..4, 10usize..40];
    let tree = prop::collection::vec(any::<prop::sample::Index>(), 0..20);
    let one = (cached, chain, tree, any::<u32>()).prop_map(|(cached, chain, tree, seed)| {
        let seed = u64::from(seed);
        // A node's parent is an earlier node or, one time in n + 1, the chain.
        let parent =
            |(n, index): (usize, prop::sample::Index)| (seed ^ (n as u64) << 40, index.index(n + 1).checked_sub(1));
        Sequence {
            cached: ids(seed, cached),
            chain: ids(seed + 1, chain),
            tree: tree.into_iter().enumerate().map(parent).collect(),
            pages: Vec::new(),
        }
    });
    prop::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_f64(shape in shapes(), sequences in sequences()) {
        for isa in isas() {
            check_exact(&shape, &sequences, &run(&cpu(isa, 1), &shape, &sequences));
        }
    }

    /// Whatever else is in the pass, and whether a token is a chain row, a tree node, or the last of a longer prompt.
    #[test]
    fn a_row_has_the_bits_it_has_alone(shape in shapes(), sequences in sequences(), threads in 1usize..5) {
        for isa in isas() {
            let together = run(&cpu(isa, threads), &shape, &sequences);
            for (row, path) in together.iter().zip(paths(&sequences)) {
                let (last, cached) = path.split_last().unwrap();
                let alone = Sequence { cached: cached.to_vec(), chain: vec![*last], ..Sequence::default() };
                prop_assert_eq!(row, &run(&cpu(isa, 1), &shape, &[alone])[0]);
            }
        }
    }

    #[test]
    fn prompts_in_chunks_have_the_bits_of_whole_ones(shape in shapes(), len in 1usize..300, at in any::<prop::sample::Index>()) {
        let whole = Sequence { chain: ids(5, len), ..Sequence::default() };
        for isa in isas() {
            let cpu = cpu(isa, 2);
            let mut first = [Sequence { chain: whole.chain[..at.index(len)].to_vec(), ..whole.clone() }];
            first[0].pages = (0..len.div_ceil(PAGE) as u32).collect();
            let mut kv = CpuKv::new(LAYERS, shape.kv_heads, shape.head_dim).unwrap();
            kv.reserve(first[0].pages.len()).unwrap();
            let mut rows = pass(&cpu, &mut kv, &shape, &first);
            let [first] = first;
            let rest = Sequence { chain: whole.chain[at.index(len)..].to_vec(), cached: first.chain, ..first };
            rows.extend(pass(&cpu, &mut kv, &shape, &[rest]));
            prop_assert_eq!(rows, run(&cpu, &shape, std::slice::from_ref(&whole)));
        }
    }

    /// Keys of a kept path move next to the chain; what follows sees what it would see had they been written there.
    #[test]
    fn committed_paths_have_the_bits_of_written_ones(shape in shapes(), mut sequences in sequences()) {
        let sequence = &mut sequences[0];
        prop_assume!(!sequence.tree.is_empty());
        let rows = sequence.chain.len() + sequence.tree.len();
        let path = sequence.path(rows - 1);
        let base = sequence.cached.len() + sequence.chain.len();
        let seen = sequence.ancestors(sequence.tree.len() - 1);
        for isa in isas() {
            let cpu = cpu(isa, 2);
            let mut one = [sequence.clone()];
            let mut kv = fill(&shape, &mut one);
            pass(&cpu, &mut kv, &shape, &one);
            let moves: Vec<(u32, u32)> = (0..64).filter(|n| seen >> n & 1 == 1).zip(0..)
                .map(|(n, to)| ((base + n) as u32, base as u32 + to)).collect();
            kv.move_keys(&one[0].pages, &moves).unwrap();
            let next = |pages: &[u32]| Sequence { cached: path.clone(), chain: vec![77], pages: pages.to_vec(), ..Sequence::default() };
            let extra = kv_pages(&mut kv, &one[0].pages, path.len() + 1);
            prop_assert_eq!(pass(&cpu, &mut kv, &shape, &[next(&extra)]), run(&cpu, &shape, &[next(&[])]));
        }
    }
}

/// `pages` and as many unused ones as `slots` need.
fn kv_pages(kv: &mut CpuKv, pages: &[u32], slots: usize) -> Vec<u32> {
    let mut pages = pages.to_vec();
    let mut next = pages.iter().max().map_or(0, |&page| page + 1);
    while pages.len() * PAGE < slots {
        pages.push(next);
        next += 1;
    }
    kv.reserve(next as usize).unwrap();
    pages
}

const SMALL: Shape = Shape { heads: 6, kv_heads: 2, head_dim: 8, window: None };

/// Forks share whole pages and copy the last: the same bits as pages of their own.
#[test]
fn forks_have_the_bits_of_their_own_pages() {
    for (isa, len) in isas().into_iter().flat_map(|isa| [64, 80, 93, 128, 130].map(|len| (isa, len))) {
        let cpu = cpu(isa, 1);
        let past = ids(9, len);
        let mut kv = CpuKv::new(LAYERS, SMALL.kv_heads, SMALL.head_dim).unwrap();
        kv.reserve(5).unwrap();
        // Whatever is in a page's unused slots must not matter.
        cache(
            &mut kv,
            &SMALL,
            &[Sequence { cached: ids(1000, 5 * PAGE), pages: vec![0, 1, 2, 3, 4], ..Sequence::default() }],
        );
        let forks: Vec<Sequence> = [3u32, 4]
            .iter()
            .map(|&own| {
                let mut pages: Vec<u32> = (0..(len / PAGE) as u32).collect();
                pages.push(own);
                Sequence { cached: past.clone(), chain: ids(u64::from(own), 3), pages, tree: Vec::new() }
            })
            .collect();
        cache(&mut kv, &SMALL, &[Sequence { cached: past.clone(), pages: vec![0, 1, 2], ..Sequence::default() }]);
        for own in [3, 4] {
            kv.copy((len / PAGE) as u32, own, len % PAGE).unwrap();
        }
        let own_pages: Vec<Sequence> =
            forks.iter().map(|fork| Sequence { pages: Vec::new(), ..fork.clone() }).collect();
        assert_eq!(pass(&cpu, &mut kv, &SMALL, &forks), run(&cpu, &SMALL, &own_pages));
    }
}

#[test]
fn copies_no_more_keys_than_asked_for() {
    let mut kv = CpuKv::new(LAYERS, SMALL.kv_heads, SMALL.head_dim).unwrap();
    kv.reserve(2).unwrap();
    let page = |id, page| Sequence { cached: ids(id, PAGE), pages: vec![page], ..Sequence::default() };
    cache(&mut kv, &SMALL, &[page(1, 0), page(2, 1)]);
    kv.copy(0, 1, 21).unwrap();
    let mixed: Vec<u64> = ids(1, 21).into_iter().chain(ids(2, PAGE).into_iter().skip(21)).collect();
    let (last, cached) = mixed.split_last().unwrap();
    let row = Sequence { cached: cached.to_vec(), chain: vec![*last], pages: vec![1], ..Sequence::default() };
    let own = Sequence { pages: Vec::new(), ..row.clone() };
    let cpu = cpu(Isa::Portable, 1);
    assert_eq!(attend(&cpu, &mut kv, &SMALL, &[row]), run(&cpu, &SMALL, &[own]));
}

/// NaN and infinity in keys that a row does not see: later rows, siblings, what a page held before.
#[test]
fn hidden_values_that_are_not_finite_do_not_leak() {
    for (isa, window) in isas().into_iter().flat_map(|isa| [None, Some(20)].map(|window| (isa, window))) {
        let shape = Shape { window, ..SMALL };
        let cpu = cpu(isa, 2);
        let past = ids(3, 150);
        let sequence = Sequence {
            cached: past.clone(),
            chain: vec![50, 51],
            tree: vec![(60, None), (61, None), (62, Some(0)), (63, Some(1)), (64, Some(3))],
            pages: vec![2, 0, 1],
        };
        let clean = run(&cpu, &shape, &[Sequence { pages: Vec::new(), ..sequence.clone() }]);
        let mut kv = CpuKv::new(LAYERS, shape.kv_heads, shape.head_dim).unwrap();
        kv.reserve(3).unwrap();
        let stride = shape.kv_heads * shape.head_dim;
        let stale = layout(&[Sequence { chain: ids(0, 3 * PAGE), pages: vec![0, 1, 2], ..Sequence::default() }]);
        kv.write(
            cpu.team(),
            1,
            &stale,
            &vec![f32::NAN; 3 * PAGE * stride],
            &vec![f32::NEG_INFINITY; 3 * PAGE * stride],
        )
        .unwrap();
        cache(&mut kv, &shape, std::slice::from_ref(&sequence));
        assert_eq!(pass(&cpu, &mut kv, &shape, std::slice::from_ref(&sequence)), clean);
        // Row 3 is node 1; nodes 3 and 4 descend from it.
        let new = layout(std::slice::from_ref(&sequence));
        let data = |f: fn(&Shape, u64) -> Vec<f32>| -> Vec<f32> {
            let mut x: Vec<f32> = sequence.new_ids().flat_map(|id| f(&shape, id)).collect();
            x[3 * stride..4 * stride].fill(f32::NAN);
            x
        };
        kv.write(cpu.team(), 1, &new, &data(keys), &data(values)).unwrap();
        let rows = attend(&cpu, &mut kv, &shape, std::slice::from_ref(&sequence));
        for (i, (row, clean)) in rows.iter().zip(&clean).enumerate() {
            match i {
                3 | 5 | 6 => assert!(row.iter().all(|o| o.is_nan()), "row {i} hides a NaN that it sees"),
                _ => assert_eq!(row, clean, "row {i}"),
            }
        }
    }
}

#[test]
fn long_contexts_share_out_their_blocks() {
    let shape = Shape { heads: 3, kv_heads: 1, head_dim: 64, window: None };
    let row = [Sequence { cached: ids(4, 1500), chain: vec![8], ..Sequence::default() }];
    for isa in isas() {
        let one = run(&cpu(isa, 1), &shape, &row);
        check_exact(&shape, &row, &one);
        for threads in 2..6 {
            assert_eq!(run(&cpu(isa, threads), &shape, &row), one);
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let cpu = cpu(Isa::Portable, 1);
    let mut kv = CpuKv::new(LAYERS, 2, 8).unwrap();
    kv.reserve(1).unwrap();
    let good = Sequence { chain: ids(1, 3), tree: vec![(9, None)], pages: vec![0], ..Sequence::default() };
    let q = vec![bf16::ZERO; 4 * 6 * 8];
    let mut o = q.clone();
    let mut code = |layer, heads, window, change: &dyn Fn(&mut Layout)| {
        let mut layout = layout(std::slice::from_ref(&good));
        change(&mut layout);
        let mut at = Attention { kv: &mut kv, layer, layout: &layout, heads, window };
        attention(&cpu, &q, &mut at, &mut o).map_err(|e| e.code())
    };
    assert_eq!(code(0, 6, None, &|_| ()), Ok(()));
    assert_eq!(code(LAYERS, 6, None, &|_| ()), Err(1));
    assert_eq!(code(0, 5, None, &|_| ()), Err(1));
    assert_eq!(code(0, 0, None, &|_| ()), Err(1));
    assert_eq!(code(0, 6, Some(0), &|_| ()), Err(1));
    assert_eq!(code(0, 8, None, &|_| ()), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.sequences[0].pages[0] = 1), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.sequences[0].pages.clear()), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.sequences[0].tree[0] = 2), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.positions[1] = 2), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.sequences[0].row = 1), Err(1));
    assert_eq!(code(0, 6, None, &|l| l.positions.push(4)), Err(1));
    assert!(CpuKv::new(1, 1, 3).is_err() && CpuKv::new(0, 1, 2).is_err());
    assert_eq!(kv.reserve(1 << 50).unwrap_err().code(), 10);
    assert!(kv.move_keys(&[0], &[(64, 0)]).is_err() && kv.copy(0, 1, 1).is_err() && kv.copy(0, 0, 65).is_err());
}

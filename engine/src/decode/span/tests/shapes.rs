//! The shapes of chunks: lattices against BPE itself, remembered shapes against new ones.

use super::*;
use crate::decode::span::canon::Memo;
use crate::decode::span::dag::{Dag, NONE};
use crate::decode::span::sets::{EMPTY, Sets};
use crate::decode::span::shape::{Chunk, Draft, Shape};

/// BPE by any rules at all over bytes: in any order, with ranks that come twice and tokens that come about in two ways.
#[derive(Debug)]
struct Rules {
    pieces: Vec<Vec<u8>>,
    rules: HashMap<(u32, u32), (u32, u32)>,
}

impl Rules {
    /// Each rule joins two of the symbols `a`, `b`, space and what earlier rules made.
    fn new(joins: &[(usize, usize, u32)]) -> Self {
        let mut all = Self { pieces: (0..=255u8).map(|b| vec![b]).collect(), rules: HashMap::new() };
        let mut pool: Vec<u32> = b"ab ".iter().map(|&b| u32::from(b)).collect();
        for &(left, right, rank) in joins {
            let (left, right) = (pool[left % pool.len()], pool[right % pool.len()]);
            let whole = [&all.pieces[left as usize][..], &all.pieces[right as usize]].concat();
            let id = all.pieces.iter().position(|piece| *piece == whole).unwrap_or(all.pieces.len());
            if id == all.pieces.len() {
                all.pieces.push(whole);
                pool.push(id as u32);
            }
            all.rules.insert((left, right), (rank, id as u32));
        }
        all
    }
}

impl Encoder for Rules {
    fn chunks(&self, _text: &str) -> Option<Vec<Range<usize>>> {
        None
    }
    fn encode_chunk(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        self.merge(&text.bytes().map(u32::from).collect::<Vec<_>>(), out);
        Ok(())
    }
    fn encode_after(&self, _before: &str, text: &str) -> Result<Vec<u32>> {
        let mut out = Vec::new();
        self.encode_chunk(text, &mut out).map(|()| out)
    }
    fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id as usize).map(|p| &p[..])
    }
    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool> {
        out.extend(chunk.bytes().map(u32::from));
        Ok(true)
    }
    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        let mut ids = symbols.to_vec();
        let rule = |ids: &[u32], at| self.rules.get(&(ids[at], ids[at + 1])).map(|&(rank, merged)| (rank, at, merged));
        while let Some((_, at, merged)) = (0..ids.len().saturating_sub(1)).filter_map(|at| rule(&ids, at)).min() {
            ids.splice(at..at + 2, [merged]);
        }
        out.extend(ids);
    }
    fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        self.rules.get(&(left, right)).copied()
    }
}

/// Every token string that leads from `node` to an end, and (as [`NONE`]) out of the chunk.
fn paths(shape: &Shape, node: u32) -> Vec<(u32, Vec<u32>)> {
    let (mut found, mut open) = (Vec::new(), vec![(node, vec![])]);
    while let Some((id, tokens)) = open.pop() {
        if id == NONE {
            continue;
        }
        let node = shape.node(id);
        if node.accept != NONE {
            found.push((node.accept, tokens.clone()));
        }
        if node.passes {
            found.push((NONE, tokens.clone()));
        }
        let (next, targets) = (node.tokens, node.targets);
        assert!(next.windows(2).all(|w| w[0] < w[1]), "sorted and distinct");
        assert!(node.accept != NONE || node.passes || !next.is_empty(), "a dead end");
        open.extend(next.iter().zip(targets).map(|(&token, &target)| (target, [&tokens[..], &[token]].concat())));
    }
    found.sort_unstable();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_lattice_holds_the_merges_of_every_piece_and_nothing_else(
        joins in prop::collection::vec((0usize..12, 0usize..12, 0u32..14), 0..16),
        text in "[ab ]{0,12}",
        passes: bool,
    ) {
        let rules = Rules::new(&joins);
        let places = Places::new(&text, Boundary::Char);
        let marks = places.marks(text.len());
        let chunk = Chunk { text: &text, marks: &marks, passes, boundary: Boundary::Char };
        let shape = Draft::default().make(&rules, &mut Memo::default(), chunk).unwrap();
        let expected = |from: usize, lead: &str| {
            let ends = places.ends.iter().copied().filter(|&end| end as usize > from);
            let ends = ends.map(|end| (end, end as usize)).chain(passes.then_some((NONE, text.len())));
            let tokens = |to| rules.encode_after("", &format!("{lead}{}", &text[from..to])).unwrap();
            let mut all: Vec<_> = ends.map(|(end, to)| (end, tokens(to))).collect();
            all.sort_unstable();
            all
        };
        if !text.is_empty() {
            prop_assert_eq!(paths(&shape, shape.base), expected(0, ""));
        }
        let starts: Vec<u32> = shape.roots.iter().map(|&(start, _)| start).collect();
        prop_assert_eq!(&starts, &places.starts);
        for &(start, root) in &shape.roots {
            prop_assert_eq!(paths(&shape, root), expected(start as usize, " "));
        }
    }

    #[test]
    fn what_was_met_before_changes_nothing(
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            "a", "b", "ab", "pain", " ", " ", " pain", "\n", "...", " ... ", "None", "+)", "12", "é", "\u{301}", " ab-a",
        ]), 0..12), 1..4),
        kind in 0usize..2,
        by_char: bool,
    ) {
        let toys = toys();
        let boundary = if by_char { Boundary::Char } else { Boundary::Word };
        let mut warm = Memo::default();
        for text in texts.iter().map(|parts| parts.concat()) {
            let places = Places::new(&text, boundary);
            let graph = |memo: &mut Memo| Dag::new(&*toys[kind].encoder, memo, &text, &places, boundary).unwrap();
            let graph_of_new = graph(&mut Memo::default());
            prop_assert_eq!(&graph(&mut warm), &graph_of_new);
            // All roots without a list of them.
            let roots = graph_of_new.roots.clone();
            let mut sets = Sets::new(graph_of_new);
            let (open, listed) = (sets.open_root(), sets.root(roots.into_iter().map(|(_, node)| (node, NONE))));
            prop_assert_eq!(open == EMPTY, listed == EMPTY);
            let tokens = sets.tokens(open).to_vec();
            prop_assert_eq!(&tokens[..], sets.tokens(listed));
            prop_assert!(sets.accepts(open).is_empty() && sets.accepts(listed).is_empty());
            for token in tokens {
                prop_assert_eq!(sets.step(open, token), sets.step(listed, token));
            }
            prop_assert_eq!(sets.step(open, STOP), EMPTY);
        }
    }
}

#[test]
fn memory_is_bounded_and_forgets_without_loss() {
    let encoder = Toy::new(false, MERGES);
    let word = |i: u32| format!(" {}", format!("{i:07}").replace('0', "pain").replace('1', "ab-"));
    let text: String = (0..4000u32).chain([0]).map(|i| word(i * 7919 % 9_000_011)).collect();
    let places = Places::new(&text, Boundary::Char);
    let mut memo = Memo::default();
    let dag = Dag::new(&encoder, &mut memo, &text, &places, Boundary::Char).unwrap();
    assert!(memo.shapes_fit(), "the bound");
    assert!(dag.shapes() > 4000, "{} shapes: nothing was forgotten", dag.shapes());
    let mut sets = Sets::new(dag);
    let first = word(0);
    let state = encoder.encode(&first).into_iter().fold(sets.open_root(), |state, token| sets.step(state, token));
    assert_eq!(sets.accepts(state), [first.len() as u32, text.len() as u32]);
}

//! The language of the grammar against its definition, by brute force: toy tokenizers here, the real ones in `real`.

mod real;
mod shapes;

use super::canon::Encoder;
use super::words::Places;
use super::*;
use crate::Result;
use crate::decode::{Constraint, StateId};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// No token of any tokenizer here.
const STOP: u32 = 1_000_000;
/// What stands before an answer.
const BEFORE: &str = "x\n";

/// BPE over bytes with a handful of merges. `pretokens`: GPT-2's manner (letters, single digits, others, each with at most
/// one space before it), else SentencePiece's (spaces and the word after them; a line feed alone).
struct Toy {
    pieces: Vec<Vec<u8>>,
    ids: HashMap<Vec<u8>, u32>,
    pretokens: bool,
}

impl Toy {
    fn new(pretokens: bool, merged: &[&str]) -> Self {
        let mut pieces: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
        pieces.extend(merged.iter().map(|m| m.as_bytes().to_vec()));
        let ids = pieces.iter().enumerate().map(|(i, p)| (p.clone(), i as u32)).collect();
        Self { pieces, ids, pretokens }
    }

    fn words(&self, text: &str) -> Vec<Range<usize>> {
        let class = |b: u8| match b {
            b'\n' => 0,
            b' ' => 1,
            b'0'..=b'9' if self.pretokens => 2,
            b if self.pretokens && (b.is_ascii_alphabetic() || b >= 0x80) => 3,
            _ => 4,
        };
        let bytes = text.as_bytes();
        let cut = |at: usize| {
            let (a, b) = (class(bytes[at - 1]), class(bytes[at]));
            match (a, b) {
                (0, _) | (_, 0) => true,
                (1, 1) if self.pretokens => bytes.get(at + 1).is_some_and(|&c| class(c) > 2),
                (_, 1) => a != 1,
                (1, 2) => self.pretokens,
                (1, _) => false,
                (2, _) | (_, 2) => true,
                _ => a != b,
            }
        };
        let mut words = Vec::new();
        let mut from = 0;
        for at in 1..=bytes.len() {
            if at == bytes.len() || cut(at) {
                words.push(from..at);
                from = at;
            }
        }
        words
    }

    fn word(&self, word: &[u8]) -> Vec<u32> {
        let mut parts: Vec<Vec<u8>> = word.iter().map(|&b| vec![b]).collect();
        loop {
            let rank = |i: usize| self.ids.get(&[&parts[i][..], &parts[i + 1][..]].concat()).copied();
            let best = (1..parts.len()).filter_map(|i| rank(i - 1).map(|r| (r, i - 1))).min();
            let Some((_, at)) = best else { break };
            let right = parts.remove(at + 1);
            parts[at].extend(right);
        }
        parts.iter().map(|p| self.ids[p]).collect()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        self.words(text).into_iter().flat_map(|r| self.word(&text.as_bytes()[r])).collect()
    }
}

impl Encoder for Toy {
    fn chunks(&self, text: &str) -> Option<Vec<Range<usize>>> {
        Some(self.words(text))
    }
    fn encode_chunk(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        out.extend(self.encode(text));
        Ok(())
    }
    fn encode_after(&self, _before: &str, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode(text))
    }
    fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id as usize).map(|p| &p[..])
    }
    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool> {
        out.extend(chunk.bytes().map(u32::from));
        Ok(!self.pretokens || self.words(chunk).len() == 1 && !chunk.starts_with(|c: char| c.is_ascii_digit()))
    }
    fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let id = *self.ids.get(&[&self.pieces[left as usize][..], &self.pieces[right as usize]].concat())?;
        Some((id, id))
    }
    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        out.extend(self.word(&symbols.iter().map(|&s| s as u8).collect::<Vec<_>>()));
    }
}

/// Merges that meet every trap: across what separators are made of, `None` in two ways, words that share beginnings.
const MERGES: &[&str] = &[
    " a", "in", " p", "ain", " pain", "..", " .", " ..", "...", " ...", "No", "ne", " No", " None", "ab", " ab", "+)",
    "-a", " -", "12", "\u{e9}", "a-", "  ",
];

fn toys() -> [Arc<SpanCache>; 2] {
    [false, true].map(|pretokens| SpanCache::new(Arc::new(Toy::new(pretokens, MERGES))))
}

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|s| s.to_string()).collect()
}

fn grammar(cache: &Arc<SpanCache>, text: &str, names: &[&str], policy: &SpanPolicy) -> SpanGrammar {
    SpanGrammar::over(cache, text, &labels(names), policy, STOP, BEFORE).unwrap()
}

/// Every answer with the occurrences that its spans stand for, straight from the definitions.
type Answers = HashMap<String, Vec<Vec<Range<usize>>>>;

fn allowed_spans(text: &str, policy: &SpanPolicy) -> Vec<Range<usize>> {
    let places = Places::new(text, policy.boundary);
    let mut spans = Vec::new();
    for &start in &places.starts {
        for &end in places.ends.iter().filter(|&&end| end > start) {
            let span = &text[start as usize..end as usize];
            let words = span.split_whitespace().count();
            let separator =
                text.match_indices(" ... ").chain(text.match_indices(" ... ... ").map(|(at, s)| (at + 4, s)));
            let walled = separator.into_iter().any(|(at, _)| (start as usize..end as usize).contains(&at));
            let broken = span.contains(['\n', '\r']) || walled || span == "None";
            if !broken && policy.max_words.is_none_or(|max| words <= max) {
                spans.push(start as usize..end as usize);
            }
        }
    }
    spans
}

/// All lists of spans that one line may give.
fn lists(text: &str, policy: &SpanPolicy) -> Vec<Vec<Range<usize>>> {
    let spans = allowed_spans(text, policy);
    let mut lists: Vec<Vec<Range<usize>>> = vec![vec![]];
    let mut from = 0;
    while from < lists.len() {
        let given = lists[from].clone();
        from += 1;
        if policy.max_spans.is_some_and(|max| given.len() >= max) {
            continue;
        }
        let permitted = |r: &Range<usize>| {
            let fresh = match policy.unique {
                true => given.iter().all(|g| text[g.clone()] != text[r.clone()]),
                false => !given.contains(r),
            };
            let apart = !policy.no_overlap || given.iter().all(|g| r.end <= g.start || g.end <= r.start);
            let later = !policy.source_order || given.last().is_none_or(|g| r.start >= g.start);
            fresh && apart && later
        };
        let mut texts = BTreeSet::new();
        for span in spans.iter().filter(|r| permitted(r)) {
            // Spans come by start, so this is the leftmost permitted occurrence of its words.
            if texts.insert(&text[span.clone()]) {
                lists.push(given.iter().cloned().chain([span.clone()]).collect());
            }
        }
    }
    lists
}

fn answers(text: &str, names: &[&str], policy: &SpanPolicy) -> Answers {
    let line = |label: &str, list: &[Range<usize>]| match list {
        [] => format!("{label}: None"),
        spans => format!("{label}: {}", spans.iter().map(|r| &text[r.clone()]).collect::<Vec<_>>().join(" ... ")),
    };
    let lists = lists(text, policy);
    let mut all: Answers = [(String::new(), vec![])].into();
    for (i, label) in names.iter().enumerate() {
        let mut longer = Answers::new();
        for (answer, before) in &all {
            for list in &lists {
                let newline = if i == 0 { "" } else { "\n" };
                let spans = before.iter().cloned().chain([list.clone()]).collect();
                let clash = longer.insert(format!("{answer}{newline}{}", line(label, list)), spans);
                assert!(clash.is_none(), "two readings of one answer: {}", line(label, list));
            }
        }
        all = longer;
    }
    all
}

/// Every token string that the constraint accepts; fails on a state that is neither final nor goes on.
fn language(grammar: &mut SpanGrammar, limit: usize) -> BTreeSet<Vec<u32>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<(StateId, Vec<u32>)> = vec![(grammar.start(), vec![])];
    while let Some((state, tokens)) = open.pop() {
        let allowed = grammar.allowed(state).to_vec();
        assert!(allowed.windows(2).all(|w| w[0] < w[1]), "sorted and distinct");
        if allowed.is_empty() {
            assert_eq!(tokens.last(), Some(&STOP), "a dead end");
            assert!(found.insert(tokens));
            assert!(found.len() <= limit, "the test is too large");
            continue;
        }
        for token in allowed {
            let next = grammar.advance(state, token).expect("an allowed token leads on");
            open.push((next, [&tokens[..], &[token]].concat()));
        }
    }
    found
}

/// Compares both ways, and reads every answer back.
fn check(cache: &Arc<SpanCache>, text: &str, names: &[&str], policy: &SpanPolicy) {
    let expected = answers(text, names, policy);
    if expected.len() > 20_000 {
        return;
    }
    let encoder = &cache.encoder;
    let mut grammar = grammar(cache, text, names, policy);
    let found = language(&mut grammar, expected.len());
    for (answer, lines) in &expected {
        let mut tokens = encoder.encode_after(BEFORE, answer).unwrap();
        tokens.push(STOP);
        assert!(found.contains(&tokens), "missing {answer:?} of {text:?} under {policy:?}");
        check_reading(&mut grammar, encoder, text, &tokens, lines, policy);
    }
    assert_eq!(found.len(), expected.len(), "{text:?} {policy:?}");
}

fn check_reading(
    grammar: &mut SpanGrammar,
    encoder: &Arc<dyn Encoder>,
    text: &str,
    tokens: &[u32],
    lines: &[Vec<Range<usize>>],
    policy: &SpanPolicy,
) {
    let spelt = |range: Range<usize>| {
        let bytes: Vec<u8> = tokens[range].iter().flat_map(|&t| encoder.token_bytes(t).unwrap().to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let places = Places::new(text, policy.boundary);
    let read = grammar.read(tokens).unwrap();
    assert_eq!(read.len(), lines.len());
    for (i, (line, expected)) in read.iter().zip(lines).enumerate() {
        assert_eq!(line.label, i);
        assert_eq!(line.none.clone().map(spelt), expected.is_empty().then(|| " None".to_string()));
        assert_eq!(line.spans.iter().map(|s| s.range.clone()).collect::<Vec<_>>(), *expected);
        for span in &line.spans {
            assert_eq!(spelt(span.tokens.clone()), format!(" {}", &text[span.range.clone()]));
            let all: Vec<Range<usize>> = (0..text.len())
                .map(|at| at..at + span.range.len())
                .filter(|r| text.get(r.clone()) == Some(&text[span.range.clone()]))
                .filter(|r| places.starts.contains(&(r.start as u32)) && places.ends.contains(&(r.end as u32)))
                .collect();
            assert_eq!(span.occurrences, all);
            assert!(all.contains(&span.range));
        }
    }
}

fn policies() -> Vec<SpanPolicy> {
    let mut all = Vec::new();
    for bits in 0..8 {
        for max_words in [None, Some(1), Some(2)] {
            all.push(SpanPolicy {
                boundary: Boundary::Word,
                max_words,
                max_spans: if bits == 6 { None } else { Some(3) },
                unique: bits & 1 != 0,
                no_overlap: bits & 2 != 0,
                source_order: bits & 4 != 0,
            });
        }
    }
    all
}

#[test]
fn the_language_is_the_definition() {
    let texts = [
        "",
        " ",
        "pain",
        "None",
        "None of",
        "No ab None",
        "a ... b",
        "a ...b",
        "a... b",
        "... a",
        "a ...",
        "a ... ... b",
        "pain ...... a",
        "a\nb",
        "a \n\n b",
        "a  b",
        "a-ab-a",
        "(+)-ab",
        "pain pain",
        "ab a ab",
        "a 12 1",
        "a 12.5",
        "é e\u{301}",
        "...None...",
        "None ... None",
    ];
    for toy in toys() {
        for text in texts {
            for policy in policies() {
                check(&toy, text, &["L"], &policy);
            }
        }
        let policy = SpanPolicy { max_spans: Some(2), ..SpanPolicy::default() };
        for text in ["a", "", "ab None", "a\nb", "ab ... a"] {
            check(&toy, text, &["L", "None", "x y"], &policy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_language_is_the_definition_for_random_texts(
        parts in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "ab", "pain", " ", " ", " ", "  ", "\n", "...", " ... ", "..", "No", "None", "-", "+)", "(", "1", "2",
            ".", ",", "\u{301}", "é", "'", "\t", "\u{2581}", "痛",
        ]), 0..7),
        kind in 0usize..2,
        bits in 0u8..8,
        max_words in prop::option::of(1usize..3),
        max_spans in 1usize..4,
        by_char in prop::bool::weighted(0.3),
    ) {
        let policy = SpanPolicy {
            boundary: if by_char { Boundary::Char } else { Boundary::Word },
            max_words,
            max_spans: Some(max_spans),
            unique: bits & 1 != 0,
            no_overlap: bits & 2 != 0,
            source_order: bits & 4 != 0,
        };
        check(&toys()[kind], &parts.concat(), &["L"], &policy);
    }
}

#[test]
fn labels_and_limits_that_mean_nothing_are_refused() {
    let cache = SpanCache::new(Arc::new(Toy::new(false, &[])));
    let over =
        |names: &[&str], policy: &SpanPolicy| SpanGrammar::over(&cache, "a", &labels(names), policy, STOP, "x\n");
    let plain = SpanPolicy::default();
    for names in [&[][..], &[""], &[" "], &["a:b"], &["a\nb"], &["a\u{2028}b"], &["a", "a"], &[" a"], &["a "]] {
        assert!(over(names, &plain).is_err(), "{names:?}");
    }
    assert!(over(&["a", "b-c, d"], &plain).is_ok());
    assert!(over(&["a"], &SpanPolicy { max_spans: Some(0), ..plain.clone() }).is_err());
    assert!(over(&["a"], &SpanPolicy { max_words: Some(0), ..plain }).is_err());
}

#[test]
fn what_is_not_an_answer_is_not_read() {
    let toy = Toy::new(false, MERGES);
    let mut tokens = toy.encode("L: pain");
    let stray = toy.encode("L: pains");
    let mut grammar = grammar(&SpanCache::new(Arc::new(toy)), "pain", &["L"], &SpanPolicy::default());
    assert!(grammar.read(&tokens).is_err(), "no terminator");
    tokens.push(STOP);
    assert!(grammar.read(&tokens).is_ok());
    tokens.push(STOP);
    assert!(grammar.read(&tokens).is_err(), "more after the terminator");
    assert!(grammar.read(&stray).is_err());
}

#[test]
fn a_text_without_spaces_is_read_in_linear_size() {
    let text: String = ["痛", "み", "ab-", "12"].into_iter().cycle().take(4000).collect();
    for cache in toys() {
        for boundary in [Boundary::Word, Boundary::Char] {
            let policy = SpanPolicy { boundary, ..SpanPolicy::default() };
            let places = Places::new(&text, boundary);
            let dag =
                cache.with(|encoder, memo| super::dag::Dag::new(encoder, memo, &text, &places, boundary)).unwrap();
            let words = dag.nodes() as usize;
            assert!(words < 100 * text.len(), "{words} words for {} bytes", text.len());
            // The whole text and a long piece from its middle are spans.
            let mut grammar = grammar(&cache, &text, &["L"], &policy);
            let middle = text.find("12").unwrap()..text.rfind("12").unwrap() + 2;
            for span in [&text[..], &text[middle]] {
                let mut tokens = cache.encoder.encode_after(BEFORE, &format!("L: {span}")).unwrap();
                tokens.push(STOP);
                assert_eq!(&text[grammar.read(&tokens).unwrap()[0].spans[0].range.clone()], span);
            }
        }
    }
}

//! The same proofs with the tokenizers of Mistral and of the demo model, and walks over real abstracts.

use super::*;
use crate::text::Tokenizer;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const TOKENIZERS: [&str; 2] = ["BMN_MISTRAL_TOKENIZER", "BMN_DEMO_MODEL"];

fn variable(test: &str, name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).map(PathBuf::from);
    if value.is_none() {
        eprintln!("SKIPPED {test}: set {name}, `make test` does");
    }
    value
}

fn tokenizers(test: &str) -> Vec<Arc<Tokenizer>> {
    let paths = TOKENIZERS.iter().filter_map(|name| variable(test, name));
    paths.map(|path| Arc::new(Tokenizer::open(&path).unwrap())).collect()
}

#[test]
fn the_language_is_the_definition_for_real_tokenizers() {
    let texts = [
        "None of the pains, None.",
        "IL-2 (Ca2+) 12.5µg",
        "(-)-epicatechin's x  5 mg",
        "don't ... do",
        "a ...b...None",
        "SpO₂ 97%\nSpO₂ 9",
        "胸痛と 5\u{200b}1 \u{1f642}",
        "e\u{301}e \u{2581}x\u{2581}",
        "''re 's 'tis",
        "x's5 \t y\u{a0}z",
        "metformin metformin, met",
    ];
    for tokenizer in tokenizers("the_language_is_the_definition_for_real_tokenizers") {
        let cache = SpanCache::new(tokenizer);
        for text in texts {
            for policy in policies() {
                let max_spans = Some(policy.max_spans.unwrap_or(2).min(2));
                check(&cache, text, &["Sign or symptom"], &SpanPolicy { max_spans, ..policy.clone() });
                let by_char = SpanPolicy { boundary: Boundary::Char, max_spans: Some(1), ..policy };
                check(&cache, text, &["Drug"], &by_char);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_language_is_the_definition_for_real_tokenizers_and_random_texts(
        parts in prop::collection::vec(prop::sample::select(vec![
            "pain", "pains", " pain", " of", " ", "\n", " ...", "... ", "None", "-", "'s", "'r", "e", "(", ")", " 5", "12", ".",
            ",", "\u{301}", "é", "µg", "\t", "\u{2581}", "痛", "\u{1f469}\u{200d}\u{2695}", " -", "--", "ing", "\u{a0}",
        ]), 0..9),
        bits in 0u8..8,
        by_char: bool,
    ) {
        static CACHES: OnceLock<Vec<Arc<SpanCache>>> = OnceLock::new();
        let test = "the_language_is_the_definition_for_real_tokenizers_and_random_texts";
        let caches = || tokenizers(test).into_iter().map(|tokenizer| SpanCache::new(tokenizer)).collect();
        for cache in CACHES.get_or_init(caches) {
            let policy = SpanPolicy {
                boundary: if by_char { Boundary::Char } else { Boundary::Word },
                max_words: None,
                max_spans: Some(if by_char { 1 } else { 2 }),
                unique: bits & 1 != 0,
                no_overlap: bits & 2 != 0,
                source_order: bits & 4 != 0,
            };
            check(cache, &parts.concat(), &["Sign or symptom"], &policy);
        }
    }
}

struct Document {
    text: String,
    mentions: Vec<Range<usize>>,
}

/// Title and abstract of every PubTator record; offsets there count characters.
fn abstracts(corpora: &Path) -> Vec<Document> {
    let mut documents = Vec::new();
    for part in ["Training", "Development"] {
        let path = corpora.join(format!("dev/bc5cdr/CDR.Corpus.v010516/CDR_{part}Set.PubTator.txt"));
        for record in std::fs::read_to_string(path).unwrap().split("\n\n").filter(|r| !r.trim().is_empty()) {
            let part = |mark: &str| record.lines().find_map(|l| l.split_once(mark).map(|(_, rest)| rest)).unwrap();
            let text = format!("{} {}", part("|t|"), part("|a|"));
            let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mention = |line: &str| {
                let fields: Vec<&str> = line.split('\t').collect();
                let offset = |field: &str| field.parse().ok().map(|at: usize| bytes[at]);
                (fields.len() >= 6).then(|| offset(fields[1]).unwrap()..offset(fields[2]).unwrap())
            };
            let mentions = record.lines().filter_map(mention).collect();
            documents.push(Document { text, mentions });
        }
    }
    documents
}

#[test]
fn gold_mentions_can_be_said() {
    let Some(corpora) = variable("gold_mentions_can_be_said", "BMN_CORPORA") else { return };
    let policy = SpanPolicy::default();
    let (mut all, mut missing) = (0, Vec::new());
    for document in abstracts(&corpora) {
        let places = Places::new(&document.text, policy.boundary);
        for mention in document.mentions {
            all += 1;
            let starts = places.starts.binary_search(&(mention.start as u32)).is_ok();
            let ends = places.ends.binary_search(&(mention.end as u32)).is_ok();
            if !(starts && ends && places.wall(mention.start as u32) as usize >= mention.end) {
                let around = mention.start.saturating_sub(8)..(mention.end + 8).min(document.text.len());
                missing.push(document.text.get(around).unwrap_or_default().to_string());
            }
        }
    }
    println!("{} of {all} mentions cannot be said: {missing:#?}", missing.len());
    assert!(all > 15_000, "{all} mentions");
    assert!(missing.len() * 1000 <= all * 5, "{} of {all} mentions cannot be said", missing.len());
}

/// A small deterministic generator: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

#[test]
fn walks_over_abstracts_give_only_spans_of_the_text() {
    let test = "walks_over_abstracts_give_only_spans_of_the_text";
    let Some(corpora) = variable(test, "BMN_CORPORA") else { return };
    let documents = abstracts(&corpora);
    let mut random = Random(7);
    for tokenizer in tokenizers(test) {
        let cache = SpanCache::new(tokenizer.clone());
        for (i, document) in documents.iter().enumerate() {
            // Every third text with other scripts, signs and emoji worked into it.
            let text = match i % 3 {
                0 => document.text.replace(" the ", " thé ").replace("mg", "µg").replace(". ", " \u{1f642}… 胸痛 ... "),
                _ => document.text.clone(),
            };
            let policy = SpanPolicy {
                max_spans: Some(4),
                max_words: (i % 2 == 0).then_some(6),
                unique: i % 5 != 0,
                no_overlap: i % 4 == 0,
                source_order: i % 7 == 0,
                ..SpanPolicy::default()
            };
            let names = labels(&["Chemical", "Disease"]);
            let mut grammar = SpanGrammar::over(&cache, &text, &names, &policy, STOP, BEFORE).unwrap();
            for _ in 0..3 {
                let (mut state, mut tokens) = (grammar.start(), Vec::new());
                loop {
                    let allowed = grammar.allowed(state).to_vec();
                    // The ends of spans come up often enough: they are high among few.
                    let Some(&token) = allowed.get(random.below(allowed.len().max(1))) else { break };
                    tokens.push(token);
                    state = grammar.advance(state, token).unwrap();
                }
                assert_eq!(tokens.pop(), Some(STOP));
                let answer = String::from_utf8(tokenizer.decode(&tokens)).unwrap();
                assert_eq!(tokenizer.encode_after(BEFORE, &answer).unwrap(), tokens, "not canonical");
                tokens.push(STOP);
                let mut said = Vec::new();
                for line in grammar.read(&tokens).unwrap() {
                    let spans: Vec<&str> = line.spans.iter().map(|s| &text[s.range.clone()]).collect();
                    assert_eq!(line.none.is_some(), spans.is_empty());
                    for span in &line.spans {
                        assert!(span.occurrences.iter().all(|o| text[o.clone()] == text[span.range.clone()]));
                        assert!(span.occurrences.contains(&span.range));
                    }
                    let value = if spans.is_empty() { "None".to_string() } else { spans.join(" ... ") };
                    said.push(format!("{}: {value}", names[line.label]));
                }
                assert_eq!(said.join("\n"), answer);
            }
        }
    }
}

//! The real tokenizers against other implementations, on generated text and on real prose.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use proptest::test_runner::{Config, TestRunner};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{PreTokenizerWrapper, TokenizerImpl};

use super::sentencepiece::PieceKind;
use super::sentencepiece_model::SentencePieceModel;
use super::tests::{check_rules, nasty_text, sentencepiece_plainly};
use super::{GgufVocabulary, Tokenizer};
use crate::weights::Gguf;

fn path(test: &str, variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED {test}: set {variable}, `make test` does");
    }
    path
}

fn each_text(cases: u32, check: impl Fn(&str)) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    runner
        .run(&nasty_text(), |text| {
            check(&text);
            Ok(())
        })
        .unwrap();
}

/// The committed texts, and abstracts of the corpora where they are at hand.
fn prose() -> Vec<String> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tokenizer_texts.jsonl");
    let rows = std::fs::read_to_string(file).unwrap();
    let rows = rows.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    let mut texts: Vec<String> = rows.map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    if let Some(corpora) = path("prose of the corpora", "BMN_CORPORA") {
        let file = corpora.join("dev/bc5cdr/CDR.Corpus.v010516/CDR_DevelopmentSet.PubTator.txt");
        let abstracts = std::fs::read_to_string(file).unwrap();
        texts.extend(abstracts.split("\n\n").take(150).map(str::to_owned));
    }
    texts
}

/// The tokenizer of a GGUF as `tokenizers` runs it, control tokens not added.
fn theirs(
    gguf: &Gguf,
) -> TokenizerImpl<
    BPE,
    tokenizers::NormalizerWrapper,
    PreTokenizerWrapper,
    tokenizers::PostProcessorWrapper,
    tokenizers::DecoderWrapper,
> {
    let tokens = gguf.texts("tokenizer.ggml.tokens").unwrap().unwrap();
    let merges = gguf.texts("tokenizer.ggml.merges").unwrap().unwrap();
    let vocab: Vocab = tokens.iter().map(str::to_owned).zip(0..).collect();
    let merges = merges.iter().map(|m| m.split_once(' ').unwrap()).map(|(l, r)| (l.to_owned(), r.to_owned())).collect();
    let words = Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ]);
    let mut tokenizer = TokenizerImpl::new(BPE::builder().vocab_and_merges(vocab, merges).build().unwrap());
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(words)));
    tokenizer
}

#[test]
fn demo_model_encodes_as_the_tokenizers_library() {
    let Some(path) = path("demo_model_encodes", "BMN_DEMO_MODEL") else { return };
    let (ours, theirs) = (Tokenizer::open(&path).unwrap(), theirs(&Gguf::open(&path).unwrap()));
    let same = |text: &str| {
        assert_eq!(ours.encode(text).unwrap(), theirs.encode(text, false).unwrap().get_ids(), "{text:?}");
    };
    each_text(3000, same);
    prose().iter().for_each(|text| same(text));
    // The same vocabulary by way of a tokenizer.json.
    let mut json: serde_json::Value = serde_json::from_str(&theirs.to_string(false).unwrap()).unwrap();
    json["added_tokens"] =
        ours.controls().iter().map(|(name, id)| serde_json::json!({"id": id, "content": name})).collect();
    let read = Tokenizer::from_bytes("saved", json.to_string().as_bytes()).unwrap();
    assert_eq!(read.hash(), ours.hash());
}

#[test]
fn mistral_encodes_as_sentencepiece_is_told() {
    let Some(path) = path("mistral_encodes", "BMN_MISTRAL_TOKENIZER") else { return };
    let bytes = std::fs::read(&path).unwrap();
    let model = SentencePieceModel::parse("model", &bytes).unwrap();
    let normal = model.pieces.iter().enumerate().filter(|(_, p)| p.kind == PieceKind::Normal);
    let scores: HashMap<&str, (f32, u32)> = normal.map(|(id, p)| (p.text, (p.score, id as u32))).collect();
    let ours = Tokenizer::open(&path).unwrap();
    each_text(1500, |text| {
        // A U+2581 of the text is a space to SentencePiece and three bytes to us.
        let text = text.replace('▁', "_");
        let want = sentencepiece_plainly(|s| scores.get(s).copied(), |byte| 3 + u32::from(byte), &text);
        assert_eq!(ours.encode(&text).unwrap(), want, "{text:?}");
    });
    for n in 0..70 {
        let text = [" ".repeat(n), "a".repeat(n % 7)].concat();
        let want = sentencepiece_plainly(|s| scores.get(s).copied(), |byte| 3 + u32::from(byte), &text);
        assert_eq!(ours.encode(&text).unwrap(), want, "{n} spaces");
    }
}

#[test]
fn real_tokenizers_keep_the_rules() {
    for variable in ["BMN_DEMO_MODEL", "BMN_MISTRAL_TOKENIZER"] {
        let Some(path) = path("real_tokenizers", variable) else { continue };
        let tokenizer = Tokenizer::open(&path).unwrap();
        each_text(400, |text| check_rules(&tokenizer, text));
        prose().iter().for_each(|text| check_rules(&tokenizer, text));
    }
}

#[test]
fn every_token_of_the_real_vocabularies_is_its_own_encoding_or_unreachable() {
    for variable in ["BMN_DEMO_MODEL", "BMN_MISTRAL_TOKENIZER"] {
        let Some(path) = path("every_token", variable) else { continue };
        let tokenizer = Tokenizer::open(&path).unwrap();
        let (mut own, mut other) = (0, 0);
        for id in 0..tokenizer.vocab_size() as u32 {
            let Some(text) = tokenizer.token_bytes(id).and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
                continue;
            };
            if tokenizer.encode_chunk(text).unwrap() == [id] { own += 1 } else { other += 1 }
        }
        // Not their own: the 128 ASCII byte tokens of Mistral's, and the few that pre-tokens or merges keep out of reach.
        assert!(own > 31_000 && other < 300, "{variable}: {own} {other}");
    }
}

#[test]
fn a_gguf_of_the_same_pieces_is_the_same_tokenizer() {
    let Some(path) = path("a_gguf_of_the_same_pieces", "BMN_MISTRAL_TOKENIZER") else { return };
    let bytes = std::fs::read(&path).unwrap();
    let model = SentencePieceModel::parse("model", &bytes).unwrap();
    let tokens: Vec<String> = model.pieces.iter().map(|p| p.text.to_owned()).collect();
    let scores: Vec<f32> = model.pieces.iter().map(|p| p.score).collect();
    let mut token_types: Vec<i64> = model.pieces.iter().map(|p| p.kind as i64 + 1).collect();
    let open = |add_space_prefix, token_types: &[i64]| {
        let vocabulary = GgufVocabulary {
            model: "llama",
            tokens: tokens.iter().map(String::as_str).collect(),
            scores: &scores,
            token_types,
            bos: Some(1),
            eos: Some(2),
            add_space_prefix,
            ..Default::default()
        };
        Tokenizer::from_gguf_vocabulary("model", &vocabulary)
    };
    let ours = Tokenizer::open(&path).unwrap();
    assert_eq!(open(None, &token_types).unwrap().hash(), ours.hash());
    assert_eq!(open(Some(false), &token_types).unwrap().encode(" a").unwrap(), ours.encode("a").unwrap());
    token_types.pop();
    assert!(open(None, &token_types).unwrap_err().to_string().contains("31999"));
}

/// Run with `--ignored --nocapture`: load time, resident memory, time per word and per document.
#[test]
#[ignore = "prints measurements"]
fn measurements() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / 1e6
    };
    for variable in ["BMN_DEMO_MODEL", "BMN_MISTRAL_TOKENIZER"] {
        let Some(path) = path("measurements", variable) else { continue };
        let (before, start) = (resident(), Instant::now());
        let tokenizer = Tokenizer::open(&path).unwrap();
        let (load, after) = (start.elapsed(), resident());
        let text = prose().concat();
        let chunks = tokenizer.chunks(&text).unwrap();
        let best = |run: &dyn Fn()| {
            (0..15)
                .map(|_| {
                    let t = Instant::now();
                    run();
                    t.elapsed()
                })
                .min()
                .unwrap()
        };
        let chunk = best(&|| chunks.iter().for_each(|c| drop(tokenizer.encode_chunk(&text[c.clone()]).unwrap())));
        let whole = best(&|| drop(tokenizer.encode(&text).unwrap()));
        let cut = best(&|| drop(tokenizer.chunks(&text).unwrap()));
        eprintln!(
            "{variable}: load {load:.1?}, resident +{:.1} MB; {} bytes, {} chunks: encode_chunk {:.0} ns each, encode {:.1} MB/s, chunks {:.1} MB/s",
            after - before,
            text.len(),
            chunks.len(),
            chunk.as_nanos() as f64 / chunks.len() as f64,
            text.len() as f64 / whole.as_secs_f64() / 1e6,
            text.len() as f64 / cut.as_secs_f64() / 1e6,
        );
    }
}

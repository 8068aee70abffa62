//! `tokenizer.json`, as the `tokenizers` crate writes it: BPE with SentencePiece's spaces or with byte-level words.
//!
//! Vocabulary and merges go straight into our tables. A normaliser that changes characters would break offsets and is
//! refused; so is every rule that we would not follow exactly.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::PreTokenizerWrapper;

use super::bpe::{Bpe, Merge};
use super::byte_level::{Alphabet, ByteLevel, Words};
use super::pretoken::Gpt2;
use super::sentencepiece::{DummyPrefix, SPACE, SentencePiece, byte_piece, check_space};
use super::tokenizer::{Kind, Tokenizer};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

#[derive(Deserialize)]
struct Probe {
    model: ProbeModel,
}

#[derive(Deserialize)]
struct ProbeModel {
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<MergeLine>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    ignore_merges: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergeLine {
    Line(String),
    Pair(String, String),
}

impl MergeLine {
    fn sides(&self) -> Option<(&str, &str)> {
        match self {
            MergeLine::Line(line) => line.split_once(' '),
            MergeLine::Pair(left, right) => Some((left, right)),
        }
    }
}

/// How the text is prepared before merging.
enum Preparation {
    SentencePiece { prefix: DummyPrefix, unless_space: bool },
    ByteLevel { words: Words, prefix_space: bool },
}

pub(super) fn open(file: &str, bytes: &[u8], folder: Option<&Path>) -> Result<Tokenizer> {
    let broken = |e: serde_json::Error| Error::format(file, format!("expected a tokenizer.json: {e}"));
    let kind = serde_json::from_slice::<Probe>(bytes).map_err(broken)?.model.r#type;
    if let Some(kind) = kind.filter(|kind| kind != "BPE") {
        return Err(Error::unsupported(format!("{file}: tokenizer model {kind:?} (BPE is)")));
    }
    let json: TokenizerJson = serde_json::from_slice(bytes).map_err(broken)?;
    let model = &json.model;
    let set = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
    if set(&model.continuing_subword_prefix) || set(&model.end_of_word_suffix) {
        return Err(Error::unsupported(format!("{file}: BPE with marks inside or at the end of words")));
    }
    if model.dropout.is_some_and(|p| p != 0.0) {
        return Err(Error::unsupported(format!("{file}: BPE with dropout")));
    }
    let preparation = preparation(file, &json.normalizer, json.pre_tokenizer.clone())?;
    let tokens = tokens(file, &json)?;
    let (vocabulary, bpe, kind) = match preparation {
        Preparation::SentencePiece { prefix, unless_space } => {
            sentence_piece(file, model, &tokens, prefix, unless_space)?
        }
        Preparation::ByteLevel { words, prefix_space } => byte_level(file, model, &tokens, words, prefix_space)?,
    };
    let (bos, eos) = ends(folder, &vocabulary)?;
    Ok(Tokenizer::new(vocabulary, bpe, kind, bos, eos))
}

/// A token by id: in text's reach, or added and not.
#[derive(Clone, Copy)]
enum Token<'a> {
    Hole,
    Text(&'a str),
    Added(&'a str),
}

/// All tokens by id; added ones are out of the text's reach, whether or not they call themselves special.
fn tokens<'a>(file: &str, json: &'a TokenizerJson) -> Result<Vec<Token<'a>>> {
    let count = json.model.vocab.len() + json.added_tokens.len();
    let max = json.model.vocab.values().copied().chain(json.added_tokens.iter().map(|t| t.id)).max();
    let n = max.map_or(0, |id| id as usize + 1);
    // Holes occur (padded vocabularies); a single wild id must not allocate gigabytes.
    if n > 2 * count + 1024 {
        return Err(Error::format(file, format!("expected token ids below {}, found {}", 2 * count + 1024, n - 1)));
    }
    let mut tokens = vec![Token::Hole; n];
    for (text, &id) in &json.model.vocab {
        if !matches!(tokens[id as usize], Token::Hole) {
            return Err(Error::format(file, format!("token id {id} stands in the vocabulary twice")));
        }
        tokens[id as usize] = Token::Text(text);
    }
    for added in &json.added_tokens {
        if added.content.trim().is_empty() {
            return Err(Error::unsupported(format!("{file}: added token {} is white space", added.id)));
        }
        tokens[added.id as usize] = Token::Added(&added.content);
    }
    Ok(tokens)
}

fn preparation(file: &str, normalizer: &Value, pre_tokenizer: Value) -> Result<Preparation> {
    let space = SPACE.to_string();
    let refuse = |what: &str, value: &Value| {
        let name = value["type"].as_str().unwrap_or("without a type");
        Err(Error::unsupported(format!("{file}: {what} {name}")))
    };
    let (mut prepend, mut replace) = (false, false);
    for step in steps(normalizer, "normalizers") {
        match step["type"].as_str() {
            Some("Prepend") if step["prepend"] == *space => prepend = true,
            Some("Replace") if step["pattern"]["String"] == " " && step["content"] == *space => replace = true,
            _ => return refuse("normalizer", step),
        }
    }
    let steps = steps(&pre_tokenizer, "pretokenizers");
    let kinds: Vec<&str> = steps.iter().map(|step| step["type"].as_str().unwrap_or_default()).collect();
    let byte_level = |step: &Value| {
        let flag = |name: &str| step[name].as_bool().unwrap_or(true);
        (flag("use_regex"), flag("add_prefix_space"))
    };
    Ok(match (&kinds[..], replace) {
        ([], true) => {
            let prefix = if prepend { DummyPrefix::Every } else { DummyPrefix::Never };
            Preparation::SentencePiece { prefix, unless_space: false }
        }
        (["Metaspace"], _) if !prepend && steps[0]["split"] == false && steps[0]["replacement"] == *space => {
            let prefix = match steps[0]["prepend_scheme"].as_str() {
                Some("never") => DummyPrefix::Never,
                Some("first") => DummyPrefix::First,
                None | Some("always") => DummyPrefix::Every,
                Some(_) => return refuse("prepend scheme of", steps[0]),
            };
            Preparation::SentencePiece { prefix, unless_space: true }
        }
        (["ByteLevel"], false) if !prepend && byte_level(steps[0]).0 => {
            Preparation::ByteLevel { words: Words::Gpt2(Gpt2::new(false)?), prefix_space: byte_level(steps[0]).1 }
        }
        (["Digits", "ByteLevel"], false)
            if !prepend && byte_level(steps[1]) == (true, false) && steps[0]["individual_digits"] == true =>
        {
            Preparation::ByteLevel { words: Words::Gpt2(Gpt2::new(true)?), prefix_space: false }
        }
        ([before @ .., "ByteLevel"], false)
            if !prepend
                && byte_level(steps[before.len()]) == (false, false)
                && before.iter().all(|kind| matches!(*kind, "Split" | "Digits" | "Punctuation")) =>
        {
            let rule: PreTokenizerWrapper = serde_json::from_value(pre_tokenizer.clone())
                .map_err(|e| Error::format(file, format!("expected a pre-tokenizer: {e}")))?;
            Preparation::ByteLevel { words: Words::Other(Box::new(rule)), prefix_space: false }
        }
        _ => {
            return Err(Error::unsupported(format!("{file}: pre-tokenizer {}", kinds.join(" + "))));
        }
    })
}

/// The steps of a normalizer or pre-tokenizer: none, one, or those of a sequence.
fn steps<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match value {
        Value::Null => Vec::new(),
        _ if value["type"] == "Sequence" => value[key].as_array().into_iter().flatten().collect(),
        _ => vec![value],
    }
}

fn sentence_piece(
    file: &str,
    model: &Model,
    tokens: &[Token],
    prefix: DummyPrefix,
    unless_space: bool,
) -> Result<(Vocabulary, Bpe, Kind)> {
    let mut vocabulary = Vocabulary::default();
    let mut index: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
    let mut bytes = [None; 256];
    for (id, token) in tokens.iter().enumerate() {
        match token {
            Token::Hole => vocabulary.push(&[])?,
            Token::Added(name) => vocabulary.push_control(name)?,
            Token::Text(text) => {
                if let Some(byte) = byte_piece(text) {
                    bytes[byte as usize] = Some(id as u32);
                    vocabulary.push(&[byte])?;
                } else {
                    index.insert(text, id as u32);
                    vocabulary.push(text.replace(SPACE, " ").as_bytes())?;
                }
            }
        }
    }
    vocabulary.finish();
    let mut ids = [0; 256];
    for (byte, id) in bytes.into_iter().enumerate() {
        ids[byte] = id.ok_or_else(|| {
            Error::unsupported(format!("{file}: SentencePiece without byte fallback (no token <0x{byte:02X}>)"))
        })?;
    }
    check_space(file, &index)?;
    let merges = merges(file, model, |text| index.get(text).copied())?;
    let bpe = Bpe::new(vocabulary.len(), merges)?;
    let rules = SentencePiece::new(&index, ids, prefix, unless_space);
    Ok((vocabulary, bpe, Kind::SentencePiece(rules)))
}

fn byte_level(
    file: &str,
    model: &Model,
    tokens: &[Token],
    words: Words,
    prefix_space: bool,
) -> Result<(Vocabulary, Bpe, Kind)> {
    let alphabet = Alphabet::new();
    let mut vocabulary = Vocabulary::default();
    let mut index: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
    let mut bytes = [None; 256];
    for (id, token) in tokens.iter().enumerate() {
        match token {
            Token::Hole => vocabulary.push(&[])?,
            Token::Added(name) => vocabulary.push_control(name)?,
            Token::Text(text) => {
                let token = alphabet.bytes(text).ok_or_else(|| {
                    Error::format(file, format!("token {id} holds a character that stands for no byte"))
                })?;
                if let [byte] = token[..] {
                    bytes[byte as usize] = Some(id as u32);
                }
                index.insert(text, id as u32);
                vocabulary.push(&token)?;
            }
        }
    }
    vocabulary.finish();
    let bpe = Bpe::new(vocabulary.len(), merges(file, model, |text| index.get(text).copied())?)?;
    let mut rules = ByteLevel::new(words, prefix_space, bytes);
    if model.ignore_merges {
        rules.whole = Some(vocabulary.tokens().map(|(id, bytes)| (bytes.into(), id)).collect());
    }
    Ok((vocabulary, bpe, Kind::ByteLevel(rules)))
}

fn merges(file: &str, model: &Model, id: impl Fn(&str) -> Option<u32>) -> Result<Vec<Merge>> {
    let mut merges = Vec::with_capacity(model.merges.len());
    for (rank, line) in model.merges.iter().enumerate() {
        let rule = line.sides().and_then(|(l, r)| Some((id(l)?, id(r)?, id(&[l, r].concat())?)));
        let Some((left, right, merged)) = rule else {
            return Err(Error::format(file, format!("merge {rank}: expected two tokens whose union is one")));
        };
        merges.push(Merge { left, right, rank: rank as u32, merged });
    }
    Ok(merges)
}

/// Beginning and end of a sequence by `tokenizer_config.json`, where that stands beside the file; else `<s>` and `</s>`.
fn ends(folder: Option<&Path>, vocabulary: &Vocabulary) -> Result<(Option<u32>, Option<u32>)> {
    let path = folder.map(|folder| folder.join("tokenizer_config.json")).filter(|path| path.is_file());
    let Some(path) = path else { return Ok((vocabulary.control("<s>"), vocabulary.control("</s>"))) };
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    let file = path.display().to_string();
    let config: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::format(&file, format!("expected JSON: {e}")))?;
    let id = |key: &str| -> Result<Option<u32>> {
        let token = &config[key];
        let Some(name) = token.as_str().or_else(|| token["content"].as_str()) else { return Ok(None) };
        let found = vocabulary.control(name);
        found.map(Some).ok_or_else(|| Error::format(&file, format!("{key} {name:?} is no added token")))
    };
    Ok((id("bos_token")?, id("eos_token")?))
}

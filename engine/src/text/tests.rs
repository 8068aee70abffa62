//! Tokenizers small enough to write down, shared by the tests of this room, and the rules that hold for every one.

use proptest::prelude::*;
use serde_json::json;

use super::byte_level::byte_char;
use super::*;
use crate::Error;

const CONTROLS: [&str; 5] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_end|>x"];

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn tiny_gguf(pre: &str) -> Tokenizer {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    tokens.extend(strings(&["he", "ll", "hell", "Ġhe", "Ġt", "'s", "..", "ĠĠ", "čĊ", "ĊĊ", "ĉĠ"]));
    let merges = strings(&["h e", "l l", "he ll", "Ġ he", "Ġ t", "' s", ". .", "Ġ Ġ", "č Ċ", "Ċ Ċ", "ĉ Ġ"]);
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(strings(&CONTROLS));
    token_types.resize(tokens.len(), 3);
    let vocabulary = GgufVocabulary {
        model: "gpt2",
        pre: Some(pre),
        tokens: tokens.iter().map(String::as_str).collect(),
        token_types: &token_types,
        merges: merges.iter().map(String::as_str).collect(),
        eos: Some(268),
        ..Default::default()
    };
    Tokenizer::from_gguf_vocabulary("tiny", &vocabulary).unwrap()
}

/// Byte-level: all 256 bytes, a few merges, a name for the end and none for the beginning.
pub(crate) fn tiny_byte_level() -> Tokenizer {
    tiny_gguf("smollm")
}

/// Pieces with ties (runs of spaces and of `a`), without many letters, with two ways to build `abc`.
const PIECES: [(&str, f32); 22] = [
    ("▁", -1e9),
    ("a", -20.0),
    ("b", -21.0),
    ("c", -22.0),
    ("s", -23.0),
    ("é", -24.0),
    ("患", -25.0),
    ("▁▁", -1e9),
    ("▁▁▁", -1e9),
    ("aa", -5.0),
    ("aaa", -5.0),
    ("aaaa", -5.0),
    ("ab", -7.0),
    ("bc", -6.0),
    ("abc", -3.0),
    ("▁a", -2.0),
    ("▁ab", -8.0),
    ("▁abc", -9.0),
    ("éa", -11.0),
    ("患a", -12.0),
    ("▁▁a", -13.0),
    ("cs", -14.0),
];

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn int(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn piece(text: &str, score: f32, kind: u64) -> Vec<u8> {
    let score = [varint(2 << 3 | 5), score.to_le_bytes().to_vec()].concat();
    field(1, &[field(1, text.as_bytes()), score, int(3, kind)].concat())
}

fn sentencepiece_bytes(pieces: &[(&str, f32)]) -> Vec<u8> {
    let mut out = [piece("<unk>", 0.0, 2), piece("<s>", 0.0, 3), piece("</s>", 0.0, 3)].concat();
    (0..256).for_each(|byte| out.extend(piece(&format!("<0x{byte:02X}>"), 0.0, 6)));
    pieces.iter().for_each(|(text, score)| out.extend(piece(text, *score, 1)));
    out.extend(field(2, &[int(3, 2), int(35, 1)].concat()));
    out.extend(field(3, &[field(1, b"identity"), int(3, 1), int(4, 0), int(5, 1)].concat()));
    out
}

fn tiny_sentencepiece() -> Tokenizer {
    Tokenizer::from_bytes("tiny", &sentencepiece_bytes(&PIECES)).unwrap()
}

/// What SentencePiece does, told without a merge table: best-scored concatenation first, leftmost among equals.
pub(super) fn sentencepiece_plainly(
    score: impl Fn(&str) -> Option<(f32, u32)>,
    byte: impl Fn(u8) -> u32,
    text: &str,
) -> Vec<u32> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut symbols: Vec<String> = [" ", text].concat().replace(' ', "▁").chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for i in 0..symbols.len().saturating_sub(1) {
            if let Some((s, _)) = score(&[&symbols[i][..], &symbols[i + 1]].concat())
                && best.is_none_or(|(b, _)| s > b)
            {
                best = Some((s, i));
            }
        }
        let Some((_, i)) = best else { break };
        let right = symbols.remove(i + 1);
        symbols[i].push_str(&right);
    }
    let ids = symbols.iter().map(|symbol| match score(symbol) {
        Some((_, id)) => vec![id],
        None => symbol.bytes().map(&byte).collect(),
    });
    ids.flatten().collect()
}

/// Characters that have broken tokenizers: every class of white space, contractions, marks, digits of several scripts,
/// control look-alikes' parts.
pub(super) fn nasty_text() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        " ",
        " ",
        " ",
        "\n",
        "\n",
        "\t",
        "\r\n",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\u{3000}",
        "'",
        "'",
        "\"",
        "s",
        "t",
        "re",
        "ve",
        "m",
        "ll",
        "d",
        "a",
        "b",
        "c",
        "aa",
        "hell",
        "é",
        "e\u{301}",
        "患",
        "5",
        "7",
        "²",
        "٣",
        "Ⅻ",
        "½",
        ".",
        "..",
        "(",
        "-",
        "▁",
        "😖",
        "👨\u{200d}👩",
        "µg",
        "₂",
        "</s>",
        "<|im_end|>",
        "<0x0A>",
        "\u{feff}",
        "_",
        "S",
    ]);
    prop_oneof![
        3 => prop::collection::vec(parts, 0..14).prop_map(|parts| parts.concat()),
        1 => "\\PC{0,12}",
    ]
}

/// The rules of [`Tokenizer`] for one text, with every start and every end around every barrier.
pub(super) fn check_rules(tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!(tokenizer.decode(&ids), text.as_bytes(), "{text:?}");
    assert!(ids.iter().all(|&id| tokenizer.control_name(id).is_none()), "a control token from {text:?}");
    let offsets = tokenizer.offsets(text, &ids).unwrap();
    assert_eq!(offsets.first().map_or(0, |r| r.start), 0);
    assert!(offsets.windows(2).all(|w| w[0].end == w[1].start));

    let chunks = tokenizer.chunks(text).unwrap();
    let mut chained = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        assert!(!chunk.is_empty());
        assert_eq!(chunk.start, if i == 0 { 0 } else { chunks[i - 1].end });
        let chunk = &text[chunk.clone()];
        chained.extend(if i == 0 { tokenizer.encode(chunk).unwrap() } else { tokenizer.encode_chunk(chunk).unwrap() });
    }
    assert_eq!(chunks.last().map_or(0, |c| c.end), text.len());
    assert_eq!(chained, ids, "chunk by chunk: {text:?}");

    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    for p in chunks.iter().skip(1).map(|chunk| chunk.start) {
        assert!(tokenizer.barrier(&text[..p], &text[p..]));
        let at = ends.binary_search(&p).unwrap();
        let space = text[p..].starts_with(char::is_whitespace);
        for &start in &ends[at.saturating_sub(9)..at] {
            let left = tokenizer.encode_chunk(&text[start..p]).unwrap();
            // White space at the end looks one character further.
            for &end in ends[at + if space { 2 } else { 1 }..].iter().take(9) {
                let right = tokenizer.encode_chunk(&text[p..end]).unwrap();
                let whole = tokenizer.encode_chunk(&text[start..end]).unwrap();
                assert_eq!(whole, [&left[..], &right].concat(), "{:?} | {:?}", &text[start..p], &text[p..end]);
                assert_eq!(tokenizer.encode_after(&text[start..p], &text[p..end]).unwrap(), right);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn byte_level_keeps_the_rules(text in nasty_text()) {
        check_rules(&tiny_gguf("smollm"), &text);
        check_rules(&tiny_gguf("gpt-2"), &text);
    }

    #[test]
    fn sentencepiece_keeps_the_rules(text in nasty_text()) {
        check_rules(&tiny_sentencepiece(), &text);
    }

    #[test]
    fn sentencepiece_merges_by_score_then_leftmost(text in "[ abcsé患x\n]{0,60}") {
        let score = |s: &str| {
            let at = PIECES.iter().position(|(piece, _)| *piece == s)?;
            Some((PIECES[at].1, 259 + at as u32))
        };
        let want = sentencepiece_plainly(score, |byte| 3 + u32::from(byte), &text);
        prop_assert_eq!(tiny_sentencepiece().encode(&text).unwrap(), want);
    }

    #[test]
    fn broken_models_are_errors(at in 0usize..6000, bytes in prop::collection::vec(any::<u8>(), 0..6), cut in any::<bool>()) {
        let mut model = sentencepiece_bytes(&PIECES);
        let at = at % model.len();
        if cut {
            model.truncate(at);
        }
        let end = (at + bytes.len()).min(model.len());
        model.splice(at..end, bytes);
        let _ = Tokenizer::from_bytes("broken", &model);
        let mut json = tiny_json().into_bytes();
        let at = at % json.len();
        json[at] = json[at].wrapping_add(1);
        let _ = Tokenizer::from_bytes("broken", &json);
    }
}

/// The pieces as a `tokenizer.json`, with merges in the order of the scores.
fn tiny_json_value() -> serde_json::Value {
    let mut vocab = serde_json::Map::new();
    ["<unk>", "<s>", "</s>"].iter().enumerate().for_each(|(i, name)| drop(vocab.insert((*name).into(), i.into())));
    (0..256).for_each(|byte| drop(vocab.insert(format!("<0x{byte:02X}>"), (byte + 3).into())));
    PIECES.iter().enumerate().for_each(|(i, (text, _))| drop(vocab.insert((*text).into(), (i + 259).into())));
    let names = ["<unk>", "<s>", "</s>"].into_iter().enumerate();
    let added: Vec<_> = names.map(|(id, name)| json!({"id": id, "content": name, "special": true})).collect();
    json!({
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": ["▁ a", "ab c", ["a", "bc"], "a a", "aa a", "b c", "a b", "▁a b", "c s"]},
    })
}

fn tiny_json() -> String {
    tiny_json_value().to_string()
}

#[test]
fn a_tokenizer_json_prefixes_every_segment_as_it_says() {
    let control = |id| Segment::Control(id);
    let text = |t: &str| Segment::Text(t.to_owned());
    let segments = [control(1), text("a"), text("b"), text(""), control(2), text("\n"), text("a")];
    let ids = |prefix: &str| {
        let mut json = tiny_json_value();
        if prefix != "normalizer" {
            json["normalizer"] = json!(null);
            json["pre_tokenizer"] =
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": prefix, "split": false});
        }
        let tokenizer = Tokenizer::from_bytes("tiny", json.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode_segments(&[text(""), text("a")]).unwrap(), tokenizer.encode("a").unwrap());
        let ids = tokenizer.encode_segments(&segments).unwrap();
        assert_eq!(tokenizer.decode(&ids), b"ab\na");
        (ids, tokenizer.encode(" a").unwrap())
    };
    // ▁=259 a=260 b=261 ab=271 ▁a=274 ▁ab=275, line feed 13.
    let every = vec![1, 275, 2, 259, 13, 260];
    assert_eq!(ids("normalizer"), (every.clone(), vec![259, 274]));
    assert_eq!(ids("always"), (every, vec![274]));
    assert_eq!(ids("never"), (vec![1, 271, 2, 13, 260], vec![274]));
    assert_eq!(ids("first"), (vec![1, 271, 2, 13, 260], vec![274]));
}

#[test]
fn unlike_rules_are_refused_by_name() {
    let refused = |edit: &dyn Fn(&mut serde_json::Value), word: &str| {
        let mut json = tiny_json_value();
        edit(&mut json);
        let error = Tokenizer::from_bytes("tiny", json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&|j| j["model"]["type"] = json!("Unigram"), "Unigram");
    refused(&|j| j["normalizer"] = json!({"type": "NFC"}), "NFC");
    refused(&|j| j["model"]["dropout"] = json!(0.1), "dropout");
    refused(&|j| j["pre_tokenizer"] = json!({"type": "Whitespace"}), "Whitespace");
    refused(&|j| j["added_tokens"][0]["content"] = json!("  "), "white space");
    refused(&|j| j["model"]["vocab"]["x"] = json!(4_000_000_000u32), "4000000000");
    refused(&|j| j["model"]["vocab"]["x"] = json!(5), "twice");
    refused(&|j| j["model"]["merges"][0] = json!("x y"), "merge 0");
    refused(&|j| drop(j["model"]["vocab"].as_object_mut().unwrap().remove("<0x07>")), "<0x07>");
    let gguf = |model, pre| {
        let tokens = strings(&["a"]);
        let vocabulary = GgufVocabulary {
            model,
            pre,
            tokens: tokens.iter().map(String::as_str).collect(),
            scores: &[0.0],
            ..Default::default()
        };
        Tokenizer::from_gguf_vocabulary("tiny", &vocabulary).unwrap_err().to_string()
    };
    assert!(gguf("bert", None).contains("bert"));
    assert!(gguf("gpt2", Some("tekken")).contains("tekken"));
    assert!(gguf("llama", None).contains("byte fallback"));
    let kinds = [(("abab", -30.0), 4, "abab"), (("aab", -30.0), 5, "unused")];
    for ((text, score), kind, word) in kinds {
        let bytes = [sentencepiece_bytes(&PIECES), piece(text, score, kind)].concat();
        match Tokenizer::from_bytes("tiny", &bytes) {
            // A user-defined piece is a control token: text does not reach it.
            Ok(tokenizer) => {
                assert_eq!(tokenizer.control(word), Some(281));
                check_rules(&tokenizer, "abab");
            }
            Err(error) => assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(word)),
        }
    }
}

#[test]
fn pieces_across_spaces_or_line_feeds_take_the_barriers_away() {
    let with = |piece: &'static str| {
        let pieces = [&PIECES[..], &[("\n", -40.0), (piece, -41.0)]].concat();
        Tokenizer::from_bytes("tiny", &sentencepiece_bytes(&pieces)).unwrap()
    };
    assert_eq!(with("b▁").chunks("b b"), None);
    assert!(!with("b▁").barrier("b", " b"));
    // Without a barrier the tokens decide: `▁ b▁ b` does not begin with `▁ b`, `▁a ▁a` begins with `▁a`.
    assert_eq!(with("b▁").encode_after("b", " b").unwrap_err().code(), 1);
    assert_eq!(with("b▁").encode_after("a", " a").unwrap(), [274]);
    assert_eq!(with("a\n").chunks("a\n a"), Some(vec![0..2, 2..4]));
    assert_eq!(tiny_sentencepiece().chunks("a\n a"), Some(vec![0..1, 1..2, 2..4]));
}

#[test]
fn a_byte_without_a_token_is_an_error() {
    let tokens = strings(&["a", "b"]);
    let vocabulary =
        GgufVocabulary { model: "gpt2", tokens: tokens.iter().map(String::as_str).collect(), ..Default::default() };
    let tokenizer = Tokenizer::from_gguf_vocabulary("tiny", &vocabulary).unwrap();
    assert_eq!(tokenizer.encode("ab").unwrap(), [0, 1]);
    assert!(tokenizer.encode("a\u{13}").unwrap_err().to_string().contains("0x13"));
}

#[test]
fn equal_hashes_mean_equal_rules() {
    assert_eq!(tiny_sentencepiece().hash(), tiny_sentencepiece().hash());
    assert_eq!(tiny_sentencepiece().hash().len(), 64);
    let mut pieces = PIECES;
    pieces[12].1 = -4.0;
    let other = Tokenizer::from_bytes("tiny", &sentencepiece_bytes(&pieces)).unwrap();
    assert_ne!(tiny_sentencepiece().hash(), other.hash());
    assert_ne!(tiny_gguf("smollm").hash(), tiny_gguf("gpt-2").hash());
}

#[test]
fn offsets_tell_the_dummy_prefix_from_spaces_of_the_text() {
    let tokenizer = tiny_sentencepiece();
    // `▁▁▁ ▁ b`, the first space of which is the prefix.
    let ids = tokenizer.encode("   b").unwrap();
    assert_eq!(tokenizer.offsets("   b", &ids).unwrap(), [0..2, 2..3, 3..4]);
    assert_eq!(tokenizer.offsets("b", &tokenizer.encode("b").unwrap()).unwrap(), [0..0, 0..1]);
}

#[test]
fn tokens_and_names() {
    let tokenizer = tiny_byte_level();
    assert_eq!(tokenizer.token_bytes(259), Some(&b" he"[..]));
    assert_eq!((tokenizer.token_bytes(268), tokenizer.control_name(268)), (None, Some("</s>")));
    assert_eq!((tokenizer.token_bytes(9999), tokenizer.control_name(259)), (None, None));
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.control("he")), (None, Some(268), None));
    assert_eq!(tokenizer.decode(&[259, 268, 9999, 256]), b" hehe");
    assert!(tokenizer.offsets("he", &[256, 256]).is_err());
    assert!(tokenizer.encode_after("", "x").is_err());
}

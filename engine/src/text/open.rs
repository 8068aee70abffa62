//! Which file is read how.

use std::path::Path;

use super::gguf_vocabulary::GgufVocabulary;
use super::sentencepiece;
use super::sentencepiece_model::SentencePieceModel;
use super::tokenizer::{Kind, Tokenizer};
use crate::weights::Gguf;
use crate::{Error, Result};

pub(super) fn open(path: &Path) -> Result<Tokenizer> {
    if path.is_dir() {
        for name in ["tokenizer.json", "tokenizer.model"] {
            let file = path.join(name);
            if file.is_file() {
                return open(&file);
            }
        }
        return Err(Error::invalid(format!(
            "{}: expected tokenizer.json or tokenizer.model in the folder, found neither",
            path.display()
        )));
    }
    let name = path.display().to_string();
    if Gguf::is_gguf(path) {
        return open_gguf(&name, &Gguf::open(path)?);
    }
    from_bytes(&name, &std::fs::read(path).map_err(|e| Error::io(path, e))?, path.parent())
}

/// A `tokenizer.json` or `tokenizer.model`, told apart by the first character; `folder` is where to look for its
/// `tokenizer_config.json`.
pub(super) fn from_bytes(name: &str, bytes: &[u8], folder: Option<&Path>) -> Result<Tokenizer> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        super::hf_json::open(name, bytes, folder)
    } else {
        open_sentencepiece(name, bytes)
    }
}

fn open_sentencepiece(file: &str, bytes: &[u8]) -> Result<Tokenizer> {
    let model = SentencePieceModel::parse(file, bytes)?;
    let (vocabulary, bpe, rules) = sentencepiece::build(file, &model.pieces, model.prefix)?;
    let (bos, eos) = (vocabulary.control(model.bos), vocabulary.control(model.eos));
    Ok(Tokenizer::new(vocabulary, bpe, Kind::SentencePiece(rules), bos, eos))
}

fn open_gguf(file: &str, gguf: &Gguf) -> Result<Tokenizer> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| -> Result<Option<u32>> {
        let Some(id) = gguf.uint(&key(name))? else { return Ok(None) };
        u32::try_from(id).map(Some).map_err(|_| Error::format(file, format!("{}: {id} is no token id", key(name))))
    };
    let texts =
        |name: &str| Ok::<_, Error>(gguf.texts(&key(name))?.map(|list| list.iter().collect()).unwrap_or_default());
    Tokenizer::from_gguf_vocabulary(
        file,
        &GgufVocabulary {
            model: gguf.text(&key("model"))?.ok_or_else(|| Error::format(file, "no tokenizer.ggml.model"))?,
            pre: gguf.text(&key("pre"))?,
            tokens: texts("tokens")?,
            scores: gguf.floats(&key("scores"))?.unwrap_or_default(),
            token_types: gguf.ints(&key("token_type"))?.unwrap_or_default(),
            merges: texts("merges")?,
            bos: id("bos_token_id")?,
            eos: id("eos_token_id")?,
            add_space_prefix: gguf.boolean(&key("add_space_prefix"))?,
        },
    )
}

//! SentencePiece BPE: its pieces as a merge table, its characters and byte fallback as first symbols.
//!
//! SentencePiece merges two neighbours whenever their concatenation is a piece, best score first, leftmost among equals.
//! So every split of a piece into two pieces is a merge rule whose rank is the order of the piece's score; pieces of
//! equal score share a rank (the runs of spaces of Mistral's model all have -1e9).
//!
//! A space is the piece character U+2581. A U+2581 in the text would be indistinguishable from a space; here it becomes its
//! three byte tokens, so that decoding gives back the text (`sentencepiece` itself loses the difference).

use std::collections::HashMap;
use std::ops::Range;

use super::bpe::{Bpe, Merge};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// How SentencePiece writes a space.
pub(super) const SPACE: char = '\u{2581}';
const NONE: u32 = u32::MAX;
/// Pieces are a few words at most; the bound keeps a hostile piece from costing the square of its length.
const PIECE_BYTES_MAX: usize = 1024;

/// What a piece is for; the numbers are those of SentencePiece and of GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl PieceKind {
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// One entry of a SentencePiece vocabulary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub text: &'a str,
    pub score: f32,
    pub kind: PieceKind,
}

/// Which segments begin with a space that the text does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DummyPrefix {
    Never,
    /// The first segment of a prompt only.
    First,
    /// Every segment.
    Every,
}

/// Text to first symbols, and what the vocabulary proves about barriers.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pub prefix: DummyPrefix,
    /// The prefix is left out before a text that begins with a space itself (`Metaspace` of `tokenizers`).
    pub prefix_unless_space: bool,
    ascii: [u32; 128],
    /// Other characters that are pieces, sorted.
    chars: Vec<(char, u32)>,
    bytes: [u32; 256],
    /// No piece has a space after another character: a run of spaces begins where no merge reaches across.
    pub space_barrier: bool,
    /// No piece of several characters holds a line feed.
    pub newline_barrier: bool,
}

impl SentencePiece {
    /// First symbols over the pieces that text can reach (`index`: with U+2581 for space) and the 256 byte tokens.
    pub fn new(index: &HashMap<&str, u32>, bytes: [u32; 256], prefix: DummyPrefix, unless_space: bool) -> Self {
        let mut ascii = [NONE; 128];
        let mut chars = Vec::new();
        let (mut space_barrier, mut newline_barrier) = (true, true);
        for (piece, &id) in index {
            let mut rest = piece.chars();
            let Some(first) = rest.next() else { continue };
            if rest.next().is_none() {
                match first {
                    // Only U+2581 stands for a space.
                    ' ' => {}
                    SPACE => ascii[b' ' as usize] = id,
                    c if c.is_ascii() => ascii[c as usize] = id,
                    c => chars.push((c, id)),
                }
            } else {
                space_barrier &= !piece.trim_start_matches(SPACE).contains(SPACE);
                newline_barrier &= !piece.contains('\n');
            }
        }
        chars.sort_unstable();
        Self { prefix, prefix_unless_space: unless_space, ascii, chars, bytes, space_barrier, newline_barrier }
    }

    /// Appends the first symbols of `text`.
    pub fn symbols(&self, text: &str, out: &mut Vec<u32>) {
        for c in text.chars() {
            let id = match self.ascii.get(c as usize) {
                Some(&id) => id,
                None => self.chars.binary_search_by_key(&c, |&(c, _)| c).map_or(NONE, |at| self.chars[at].1),
            };
            if id != NONE {
                out.push(id);
            } else {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|b| self.bytes[b as usize]));
            }
        }
    }

    /// Appends the symbol of the dummy prefix of a segment that begins with `text`.
    pub fn prefix_symbol(&self, text: &str, first: bool, out: &mut Vec<u32>) {
        let wanted = match self.prefix {
            DummyPrefix::Never => false,
            DummyPrefix::First => first,
            DummyPrefix::Every => true,
        };
        if wanted && !text.is_empty() && !(self.prefix_unless_space && text.starts_with(' ')) {
            self.symbols(" ", out);
        }
    }

    /// Whether no merge reaches across the boundary between `before` and `after`, whatever stands around them.
    pub fn cuts(&self, before: &str, after: &str) -> bool {
        let (Some(c), Some(d)) = (before.as_bytes().last(), after.as_bytes().first()) else { return true };
        (self.space_barrier && *d == b' ' && *c != b' ') || (self.newline_barrier && (*c == b'\n' || *d == b'\n'))
    }

    /// The parts of `text` between spaces that follow another character and around line feeds; `None` where the
    /// vocabulary has pieces across spaces.
    pub fn chunks(&self, text: &str) -> Option<Vec<Range<usize>>> {
        if !self.space_barrier {
            return None;
        }
        let bytes = text.as_bytes();
        let mut chunks = Vec::with_capacity(text.len() / 5 + 1);
        let mut start = 0;
        for at in 1..bytes.len() {
            let (c, d) = (bytes[at - 1], bytes[at]);
            if (d == b' ' && c != b' ') || (self.newline_barrier && (c == b'\n' || d == b'\n')) {
                chunks.push(start..at);
                start = at;
            }
        }
        if start < bytes.len() {
            chunks.push(start..bytes.len());
        }
        Some(chunks)
    }
}

/// Vocabulary, merge table and first symbols of a list of pieces, by SentencePiece's rules. `file` names it in errors.
pub(super) fn build(file: &str, pieces: &[Piece], prefix: DummyPrefix) -> Result<(Vocabulary, Bpe, SentencePiece)> {
    let mut vocabulary = Vocabulary::default();
    let mut index: HashMap<&str, u32> = HashMap::with_capacity(pieces.len());
    let mut bytes = [NONE; 256];
    for (id, piece) in pieces.iter().enumerate() {
        let fail = |why: &str| Err(Error::format(file, format!("piece {id}: {why}")));
        if piece.text.is_empty() || piece.text.len() > PIECE_BYTES_MAX {
            return fail(&format!("expected 1 to {PIECE_BYTES_MAX} bytes, found {}", piece.text.len()));
        }
        match piece.kind {
            PieceKind::Normal | PieceKind::Unused => {
                if piece.score.is_nan() {
                    return fail("its score is not a number");
                }
                vocabulary.push(piece.text.replace(SPACE, " ").as_bytes())?;
                if piece.kind == PieceKind::Normal && index.insert(piece.text, id as u32).is_some() {
                    return fail("it stands in the list twice");
                }
            }
            PieceKind::Byte => {
                let Some(byte) = byte_piece(piece.text) else { return fail("a byte piece is not of the form <0xNN>") };
                bytes[byte as usize] = id as u32;
                vocabulary.push(&[byte])?;
            }
            PieceKind::UserDefined if piece.text.trim_matches([SPACE, ' ', '\t', '\n']).is_empty() => {
                return Err(Error::unsupported(format!("{file}: piece {id} is user-defined white space")));
            }
            // SentencePiece would find user-defined pieces in any text; chat markers among them are control tokens.
            PieceKind::UserDefined | PieceKind::Control | PieceKind::Unknown => vocabulary.push_control(piece.text)?,
        }
    }
    vocabulary.finish();
    if let Some(byte) = bytes.iter().position(|&id| id == NONE) {
        return Err(Error::unsupported(format!(
            "{file}: SentencePiece without byte fallback (no piece <0x{byte:02X}>)"
        )));
    }
    check_space(file, &index)?;
    let merges = merges(file, pieces, &index)?;
    let bpe = Bpe::new(pieces.len(), merges)?;
    let rules = SentencePiece::new(&index, bytes, prefix, false);
    Ok((vocabulary, bpe, rules))
}

/// Spaces need a piece: without one, SentencePiece would write them as the bytes of U+2581.
pub(super) fn check_space(file: &str, index: &HashMap<&str, u32>) -> Result<()> {
    if index.contains_key(SPACE.encode_utf8(&mut [0; 4]) as &str) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{file}: SentencePiece without a piece for the space")))
}

/// Every split of a piece into two pieces, ranked by the piece's score.
fn merges(file: &str, pieces: &[Piece], index: &HashMap<&str, u32>) -> Result<Vec<Merge>> {
    let mut scores: Vec<f32> = pieces.iter().filter(|p| p.kind == PieceKind::Normal).map(|p| p.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    // -0.0 and 0.0 are one score.
    scores.dedup();
    let mut merges = Vec::new();
    for (id, piece) in pieces.iter().enumerate() {
        if !matches!(piece.kind, PieceKind::Normal | PieceKind::Unused) || piece.text.contains(' ') {
            continue;
        }
        let mut several = false;
        for (at, _) in piece.text.char_indices().skip(1) {
            several = true;
            let (left, right) = piece.text.split_at(at);
            let (Some(&left), Some(&right)) = (index.get(left), index.get(right)) else { continue };
            if piece.kind == PieceKind::Unused {
                return Err(Error::unsupported(format!("{file}: piece {id} is of type unused, yet text can reach it")));
            }
            let rank = scores.partition_point(|&score| score > piece.score) as u32;
            merges.push(Merge { left, right, rank, merged: id as u32 });
        }
        // SentencePiece would merge an unknown character into a piece that holds it.
        if several
            && piece.kind == PieceKind::Normal
            && piece.text.chars().any(|c| !index.contains_key(c.encode_utf8(&mut [0; 4]) as &str))
        {
            return Err(Error::unsupported(format!("{file}: piece {id} holds a character that is not a piece itself")));
        }
    }
    Ok(merges)
}

/// The byte of `<0xNN>`.
pub(super) fn byte_piece(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

//! Tokens of PTX.

use super::{Literal, ParseError};

/// A word, number, string or punctuation mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its text; of a string, what stands between the quotes.
    pub text: &'a str,
    /// Line, from 1.
    pub line: u32,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

/// Splits a text into tokens; comments and white space fall away. `L1::evict_last` and `-4` are one token each.
pub fn tokens(source: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let bytes = source.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut out = Vec::with_capacity(source.len() / 5);
    let (mut i, mut line) = (0, 1);
    while i < bytes.len() {
        let (start, first) = (i, at(i));
        match first {
            b'\n' => (i, line) = (i + 1, line + 1),
            0 => i += 1,
            _ if first.is_ascii_whitespace() => i += 1,
            b'/' if at(i + 1) == b'/' => {
                while i < bytes.len() && at(i) != b'\n' {
                    i += 1;
                }
            }
            b'/' if at(i + 1) == b'*' => {
                while i < bytes.len() && !(at(i) == b'*' && at(i + 1) == b'/') {
                    line += u32::from(at(i) == b'\n');
                    i += 1;
                }
                i += 2;
            }
            b'"' => {
                i += 1;
                while i < bytes.len() && at(i) != b'"' {
                    i += 1;
                }
                if i >= bytes.len() {
                    return Err(ParseError { line, message: "a string is not closed".into() });
                }
                out.push(Token { text: &source[start + 1..i], line });
                i += 1;
            }
            _ if is_word(first) || (first == b'-' && at(i + 1).is_ascii_digit()) => {
                i += 1;
                while is_word(at(i)) || (at(i) == b':' && (at(i + 1) == b':' || at(i - 1) == b':')) {
                    i += 1;
                }
                out.push(Token { text: &source[start..i], line });
            }
            _ if first.is_ascii() => {
                i += 1;
                out.push(Token { text: &source[start..i], line });
            }
            _ => return Err(ParseError { line, message: format!("unexpected byte 0x{first:02x}") }),
        }
    }
    Ok(out)
}

/// The literal a token spells, if it is one.
pub fn literal(text: &str) -> Option<Literal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let radix = |prefixes: [&str; 2]| prefixes.iter().find_map(|p| digits.strip_prefix(p));
    if let Some(hex) = radix(["0f", "0F"]) {
        let bits = u32::from_str_radix(hex, 16).ok()?;
        return Some(Literal::F32(bits ^ (u32::from(negative) << 31)));
    }
    if let Some(hex) = radix(["0d", "0D"]) {
        let value = f64::from_bits(u64::from_str_radix(hex, 16).ok()?);
        return Some(Literal::F64(if negative { -value } else { value }));
    }
    if let Some(value) = integer(digits.strip_suffix('U').unwrap_or(digits)) {
        return Some(Literal::Int(if negative { value.wrapping_neg() } else { value }));
    }
    let value: f64 = digits.parse().ok()?;
    Some(Literal::F64(if negative { -value } else { value }))
}

fn integer(digits: &str) -> Option<u64> {
    let lower = digits.to_ascii_lowercase();
    match lower.as_bytes() {
        [b'0', b'x', ..] => u64::from_str_radix(&lower[2..], 16).ok(),
        [b'0', b'b', ..] => u64::from_str_radix(&lower[2..], 2).ok(),
        [b'0', _, ..] => u64::from_str_radix(&lower[1..], 8).ok(),
        _ => lower.parse().ok(),
    }
}

//! Documents in: text files, JSON lines and stdin, one at a time. No error quotes what it read.

use crate::args::Format;
use crate::stop::{Result, Stop};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

/// Longest JSON line or text file that is read, in bytes.
pub const LONGEST: u64 = 64 << 20;

/// One input document.
#[derive(Debug)]
pub struct Document {
    /// As given, or `FILE:LINE` where a line has none; the file name for a text file.
    pub id: Value,
    /// Every field of the line; a text file has only `text`.
    pub fields: Map<String, Value>,
    /// Line number in its file, from 1; none for a text file.
    pub line: Option<u64>,
}

/// A document that cannot be read or answered.
#[derive(Debug)]
pub struct Broken {
    /// As for [`Document::id`].
    pub id: Value,
    /// As for [`Document::line`].
    pub line: Option<u64>,
    /// Stable number of the kind of error, that of the engine's errors.
    pub code: i32,
    /// One sentence without document text.
    pub why: String,
}

impl Broken {
    /// The line that stands for it among results.
    pub fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Line<'a> {
            id: &'a Value,
            #[serde(skip_serializing_if = "Option::is_none")]
            line: Option<u64>,
            status: &'static str,
            code: i32,
            error: &'a str,
        }
        let line = Line { id: &self.id, line: self.line, status: "error", code: self.code, error: &self.why };
        serde_json::to_string(&line).map_err(|e| Stop::failed(format!("error line: {e}")))
    }
}

/// Code of an input that cannot be used.
pub const INVALID: i32 = 1;

impl Document {
    /// A field that must be a string where it is present.
    pub fn string(&self, name: &str) -> std::result::Result<Option<&str>, String> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(format!("\"{name}\": expected a string, found {}", kind(other))),
        }
    }

    /// A field that must be a list of strings where it is present.
    pub fn strings(&self, name: &str) -> std::result::Result<Option<Vec<String>>, String> {
        let list = match self.fields.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(format!("\"{name}\": expected a list of strings, found {}", kind(other))),
        };
        let text = |v: &Value| match v {
            Value::String(s) => Ok(s.clone()),
            other => Err(format!("\"{name}\": expected a list of strings, found {} in it", kind(other))),
        };
        list.iter().map(text).collect::<std::result::Result<_, _>>().map(Some)
    }

    /// A string field that must be there.
    pub fn required(&self, name: &str) -> std::result::Result<&str, String> {
        self.string(name)?.ok_or_else(|| format!("\"{name}\": expected a string, found nothing"))
    }

    /// Length of all its string fields together: what orders documents into batches.
    pub fn text_bytes(&self) -> usize {
        self.fields.values().filter_map(Value::as_str).map(str::len).sum()
    }

    /// This document as a failed one.
    pub fn broken(&self, code: i32, why: impl Into<String>) -> Broken {
        Broken { id: self.id.clone(), line: self.line, code, why: why.into() }
    }
}

/// The JSON type of a value, never the value.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// All inputs in order, read as they are asked for.
pub struct Input {
    waiting: VecDeque<PathBuf>,
    format: Format,
    lines: Option<Lines>,
    done: u64,
    total: Option<u64>,
    /// What [`peek`](Self::peek) read.
    peeked: Option<Next>,
}

/// A document or why it is none.
type Next = std::result::Result<Document, Broken>;

struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    line: u64,
    read: u64,
}

impl Input {
    /// Opens nothing yet, but refuses files that are not there.
    pub fn new(paths: &[PathBuf], format: Format) -> Result<Self> {
        for path in paths.iter().filter(|p| !is_stdin(p)) {
            let meta = std::fs::metadata(path).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
            if meta.is_dir() {
                return Err(Stop::failed(format!("{}: expected a file, found a folder", path.display())));
            }
        }
        if paths.iter().filter(|p| is_stdin(p)).count() > 1 {
            return Err(Stop::usage("- (stdin) can be given once"));
        }
        let size = |p: &PathBuf| match std::fs::metadata(p) {
            Ok(meta) if meta.is_file() => Some(meta.len()),
            _ => None,
        };
        let (waiting, total) = (paths.iter().cloned().collect(), paths.iter().map(size).sum());
        Ok(Input { waiting, format, lines: None, done: 0, total, peeked: None })
    }

    /// Bytes of all inputs, `None` when one is a stream.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.done + self.lines.as_ref().map_or(0, |l| l.read)
    }

    /// What [`next_document`](Self::next_document) will give.
    pub fn peek(&mut self) -> Result<Option<&Next>> {
        if self.peeked.is_none() {
            self.peeked = self.next_document()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// The next document, `None` at the end. The outer error ends the run, the inner one is this document's.
    pub fn next_document(&mut self) -> Result<Option<Next>> {
        if let Some(next) = self.peeked.take() {
            return Ok(Some(next));
        }
        loop {
            if let Some(lines) = &mut self.lines {
                if let Some(document) = lines.next_line()? {
                    return Ok(Some(document));
                }
                self.done += lines.read;
                self.lines = None;
            }
            let Some(path) = self.waiting.pop_front() else { return Ok(None) };
            let name = if is_stdin(&path) { "-".to_owned() } else { path.display().to_string() };
            let mut reader: Box<dyn BufRead> = if is_stdin(&path) {
                Box::new(BufReader::new(stdin()))
            } else {
                Box::new(BufReader::new(File::open(&path).map_err(|e| Stop::failed(format!("{name}: {e}")))?))
            };
            if is_jsonl(self.format, &path, reader.as_mut()).map_err(|e| Stop::failed(format!("{name}: {e}")))? {
                self.lines = Some(Lines { name, reader, line: 0, read: 0 });
                continue;
            }
            let mut bytes = Vec::new();
            reader.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| Stop::failed(format!("{name}: {e}")))?;
            self.done += bytes.len() as u64;
            return Ok(Some(text_document(name, bytes)));
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn is_jsonl(format: Format, path: &Path, reader: &mut dyn BufRead) -> std::io::Result<bool> {
    match (format, path.extension().and_then(|e| e.to_str())) {
        (Format::Jsonl, _) | (Format::Auto, Some("jsonl" | "ndjson" | "json")) => Ok(true),
        (Format::Text, _) | (Format::Auto, Some("txt")) => Ok(false),
        _ => Ok(reader.fill_buf()?.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')),
    }
}

fn text_document(name: String, bytes: Vec<u8>) -> std::result::Result<Document, Broken> {
    let broken = |why: String| Broken { id: Value::String(name.clone()), line: None, code: INVALID, why };
    if bytes.len() as u64 > LONGEST {
        return Err(broken(format!("longer than {LONGEST} bytes")));
    }
    let text =
        String::from_utf8(bytes).map_err(|e| broken(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to())))?;
    let fields = Map::from_iter([("text".to_owned(), Value::String(text))]);
    Ok(Document { id: Value::String(name), fields, line: None })
}

impl Lines {
    fn next_line(&mut self) -> Result<Option<std::result::Result<Document, Broken>>> {
        loop {
            let mut bytes = Vec::new();
            let fail = |e: std::io::Error| Stop::failed(format!("{}: {e}", self.name));
            let read = self.reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes).map_err(fail)? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.read += read;
            if read > LONGEST {
                self.read += skip_line(self.reader.as_mut()).map_err(fail)?;
                return Ok(Some(Err(self.broken(None, format!("longer than {LONGEST} bytes")))));
            }
            let bytes = if self.line == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(self.parse(bytes)));
        }
    }

    fn parse(&self, bytes: &[u8]) -> std::result::Result<Document, Broken> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| self.broken(None, format!("not UTF-8 at byte {} of the line", e.valid_up_to())))?;
        // serde_json's own message may quote the document, so only the place is passed on.
        let value: Value = serde_json::from_str(text)
            .map_err(|e| self.broken(None, format!("not JSON at column {} of the line", e.column())))?;
        let Value::Object(fields) = value else {
            return Err(self.broken(None, format!("expected a JSON object, found {}", kind(&value))));
        };
        let id = match fields.get("id") {
            None | Some(Value::Null) => self.place(),
            Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
            Some(other) => {
                return Err(self.broken(None, format!("\"id\": expected a string or a number, found {}", kind(other))));
            }
        };
        Ok(Document { id, fields, line: Some(self.line) })
    }

    fn place(&self) -> Value {
        Value::String(format!("{}:{}", self.name, self.line))
    }

    fn broken(&self, id: Option<Value>, why: String) -> Broken {
        Broken { id: id.unwrap_or_else(|| self.place()), line: Some(self.line), code: INVALID, why }
    }
}

/// Reads up to and including the next newline, keeping nothing.
fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let (end, found) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(end);
        skipped += end as u64;
        if found {
            return Ok(skipped);
        }
    }
}

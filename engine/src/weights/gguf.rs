//! GGUF, version 2 and 3: the container and its metadata.
//!
//! Layout: magic, version, number of tensors, number of metadata entries; the entries (key, type, value); the tensor table
//! (name, dimensions inner first, type, offset); padding to the alignment; tensor data. Nothing is trusted: every length is
//! checked against the bytes that are left before anything is allocated.

use super::pages::map_file;
use super::{DType, TensorInfo};
use crate::{Error, Result};
use memmap2::Mmap;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"GGUF";
/// Tensors have at most this many dimensions.
const MAX_DIMS: u32 = 4;
/// Longest name of a tensor or metadata entry.
const MAX_NAME: usize = 1024;
/// Real headers stay below 20 MB; a longer one in a large hostile file could fill the memory.
const MAX_HEADER: usize = 64 << 20;

/// A metadata value. Integers of all widths are one kind, so are floats, and the arrays of each.
#[derive(Debug, Clone, PartialEq)]
pub enum GgufValue {
    /// Signed or unsigned integer.
    Int(i128),
    /// f32 or f64.
    Float(f64),
    /// Truth value.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// Array of integers.
    Ints(Vec<i64>),
    /// Array of floats.
    Floats(Vec<f32>),
    /// Array of truth values.
    Bools(Vec<bool>),
    /// Array of texts.
    Texts(TextList),
}

/// Texts in one allocation: a vocabulary is tens of thousands of short ones, which would stay behind as holes in the heap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextList {
    all: String,
    ends: Vec<usize>,
}

impl TextList {
    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|i| &self.all[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]])
    }
}

/// An opened GGUF file: metadata, and where its tensors lie.
pub struct Gguf {
    name: String,
    map: Arc<Mmap>,
    file: File,
    metadata: BTreeMap<String, GgufValue>,
    tensors: Vec<TensorInfo>,
}

impl Gguf {
    /// Whether the file begins as a GGUF does.
    pub fn is_gguf(path: &Path) -> bool {
        let mut magic = [0u8; 4];
        let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
        read.is_ok() && &magic == MAGIC
    }

    /// Maps the file and reads header, metadata and tensor table. Tensor data is not touched.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where the file is truncated, inconsistent or no GGUF of version 2 or 3.
    pub fn open(path: &Path) -> Result<Self> {
        let (map, file) = map_file(path)?;
        let name = path.display().to_string();
        let (metadata, tensors) = read_header(&map).map_err(|why| Error::format(&name, why))?;
        Ok(Gguf { name, map, file, metadata, tensors })
    }

    /// The file's path, for errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All metadata by key.
    pub fn metadata(&self) -> &BTreeMap<String, GgufValue> {
        &self.metadata
    }

    /// Tensors as stored, under their GGUF names.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The file, mapped and open.
    pub(super) fn into_file(self) -> (Arc<Mmap>, File) {
        (self.map, self.file)
    }

    /// The text at `key`, `None` where absent.
    ///
    /// # Errors
    /// [`Error::Format`] where the value is of another kind; so for the other getters.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| if let GgufValue::Text(x) = value { Some(x.as_str()) } else { None })
    }

    /// The integer at `key`, `None` where absent.
    pub fn uint(&self, key: &str) -> Result<Option<usize>> {
        self.typed(
            key,
            "a whole number",
            |value| {
                if let GgufValue::Int(x) = value { usize::try_from(*x).ok() } else { None }
            },
        )
    }

    /// The number at `key`, `None` where absent.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |value| if let GgufValue::Float(x) = value { Some(*x) } else { None })
    }

    /// The truth value at `key`, `None` where absent.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a truth value", |value| if let GgufValue::Bool(x) = value { Some(*x) } else { None })
    }

    /// The array of texts at `key`, `None` where absent.
    pub fn texts(&self, key: &str) -> Result<Option<&TextList>> {
        self.typed(key, "an array of texts", |value| if let GgufValue::Texts(x) = value { Some(x) } else { None })
    }

    /// The array of integers at `key`, `None` where absent.
    pub fn ints(&self, key: &str) -> Result<Option<&[i64]>> {
        self.typed(
            key,
            "an array of integers",
            |value| if let GgufValue::Ints(x) = value { Some(&x[..]) } else { None },
        )
    }

    /// The array of floats at `key`, `None` where absent.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>> {
        self.typed(
            key,
            "an array of floats",
            |value| if let GgufValue::Floats(x) = value { Some(&x[..]) } else { None },
        )
    }

    fn typed<'a, T>(&'a self, key: &str, want: &str, read: impl Fn(&'a GgufValue) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        match read(value) {
            Some(x) => Ok(Some(x)),
            None => Err(Error::format(&self.name, format!("metadata {key}: expected {want}, found another kind"))),
        }
    }
}

/// Bytes not read yet, and how many were.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Parse<T> = std::result::Result<T, String>;

impl<'a> Cursor<'a> {
    fn take(&mut self, len: u64, what: &str) -> Parse<&'a [u8]> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                self.at += len;
                Ok(&self.bytes[self.at - len..self.at])
            }
            _ => Err(format!("{what}: expected {len} bytes at byte {}, found {left}", self.at)),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Parse<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Parse<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Parse<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn text(&mut self, what: &str) -> Parse<&'a str> {
        let len = self.u64(what)?;
        let at = self.at;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|_| format!("{what}: expected UTF-8 text at byte {at}"))
    }

    fn texts(&mut self, count: u64, what: &str) -> Parse<TextList> {
        let mut all = String::new();
        let ends = self.many(count, 8, |c| {
            all.push_str(c.text(what)?);
            Ok(all.len())
        })?;
        Ok(TextList { all, ends })
    }

    /// A text that errors will quote.
    fn name(&mut self, what: &str) -> Parse<String> {
        let name = self.text(what)?;
        if name.len() > MAX_NAME {
            Err(format!("{what}: expected at most {MAX_NAME} bytes, found {}", name.len()))
        } else {
            Ok(name.to_owned())
        }
    }

    /// `count` values of at least `min_bytes` each, the count checked before anything is allocated.
    fn many<T>(&mut self, count: u64, min_bytes: u64, mut read: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left / min_bytes {
            return Err(format!("array of {count} values at byte {}: {left} bytes are left", self.at));
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Parse<GgufValue> {
        Ok(match kind {
            0 => GgufValue::Int(u8::from_le_bytes(self.array(key)?).into()),
            1 => GgufValue::Int(i8::from_le_bytes(self.array(key)?).into()),
            2 => GgufValue::Int(u16::from_le_bytes(self.array(key)?).into()),
            3 => GgufValue::Int(i16::from_le_bytes(self.array(key)?).into()),
            4 => GgufValue::Int(u32::from_le_bytes(self.array(key)?).into()),
            5 => GgufValue::Int(i32::from_le_bytes(self.array(key)?).into()),
            6 => GgufValue::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => GgufValue::Bool(self.array::<1>(key)?[0] != 0),
            8 => GgufValue::Text(self.text(key)?.to_owned()),
            10 => GgufValue::Int(u64::from_le_bytes(self.array(key)?).into()),
            11 => GgufValue::Int(i64::from_le_bytes(self.array(key)?).into()),
            12 => GgufValue::Float(f64::from_le_bytes(self.array(key)?)),
            _ => return Err(format!("{key}: unknown value type {kind}")),
        })
    }

    fn value(&mut self, kind: u32, key: &str) -> Parse<GgufValue> {
        if kind != 9 {
            return self.scalar(kind, key);
        }
        let (kind, count) = (self.u32(key)?, self.u64(key)?);
        let int = |c: &mut Self| match c.scalar(kind, key)? {
            GgufValue::Int(x) => i64::try_from(x).map_err(|_| format!("{key}: {x} is out of range")),
            _ => Err(format!("{key}: expected integers")),
        };
        Ok(match kind {
            0 | 1 => GgufValue::Ints(self.many(count, 1, int)?),
            2 | 3 => GgufValue::Ints(self.many(count, 2, int)?),
            4 | 5 => GgufValue::Ints(self.many(count, 4, int)?),
            10 | 11 => GgufValue::Ints(self.many(count, 8, int)?),
            6 => GgufValue::Floats(self.many(count, 4, |c| Ok(f32::from_le_bytes(c.array(key)?)))?),
            12 => GgufValue::Floats(self.many(count, 8, |c| Ok(f64::from_le_bytes(c.array(key)?) as f32))?),
            7 => GgufValue::Bools(self.many(count, 1, |c| Ok(c.array::<1>(key)?[0] != 0))?),
            8 => GgufValue::Texts(self.texts(count, key)?),
            _ => return Err(format!("{key}: arrays of value type {kind} are not supported")),
        })
    }
}

fn read_header(bytes: &[u8]) -> Parse<(BTreeMap<String, GgufValue>, Vec<TensorInfo>)> {
    let mut c = Cursor { bytes: &bytes[..bytes.len().min(MAX_HEADER)], at: 0 };
    if &c.array::<4>("magic")? != MAGIC {
        return Err("expected a file that begins with GGUF".into());
    }
    match c.u32("version")? {
        2 | 3 => {}
        version => return Err(format!("GGUF version: expected 2 or 3 in little-endian order, found {version}")),
    }
    let (tensor_count, entry_count) = (c.u64("tensor count")?, c.u64("metadata count")?);
    let mut metadata = BTreeMap::new();
    for (key, value) in c.many(entry_count, 13, |c| {
        let key = c.name("metadata key")?;
        let what = format!("metadata {key}");
        let kind = c.u32(&what)?;
        let value = c.value(kind, &what)?;
        Ok((key, value))
    })? {
        if metadata.contains_key(&key) {
            return Err(format!("metadata {key} stands there twice"));
        }
        metadata.insert(key, value);
    }
    let stored = c.many(tensor_count, 24, read_tensor)?;
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(GgufValue::Int(n)) if (1..=1 << 20).contains(n) => *n as usize,
        Some(_) => return Err("general.alignment: expected a number of bytes from 1 to 1048576".into()),
    };
    let data = c.at.next_multiple_of(alignment);
    let tensors = place(stored, data, alignment, bytes.len())?;
    Ok((metadata, tensors))
}

/// A row of the tensor table: name, outer dimension first, type number, offset from the start of the data.
type Stored = (String, Vec<usize>, u32, u64);

fn read_tensor(c: &mut Cursor<'_>) -> Parse<Stored> {
    let name = c.name("tensor name")?;
    let what = format!("tensor {name}");
    let dims = c.u32(&what)?;
    if dims > MAX_DIMS {
        return Err(format!("{what}: expected at most {MAX_DIMS} dimensions, found {dims}"));
    }
    let mut shape = c.many(dims.into(), 8, |c| {
        let n = c.u64(&what)?;
        usize::try_from(n).map_err(|_| format!("{what}: dimension {n} is too large"))
    })?;
    shape.reverse();
    let kind = c.u32(&what)?;
    let offset = c.u64(&what)?;
    Ok((name, shape, kind, offset))
}

/// Turns table rows into places in the file, and checks that they lie inside it and apart from each other.
fn place(stored: Vec<Stored>, data: usize, alignment: usize, file_len: usize) -> Parse<Vec<TensorInfo>> {
    let mut tensors = Vec::with_capacity(stored.len());
    let mut names = HashSet::new();
    for (name, shape, kind, offset) in stored {
        if !names.insert(name.clone()) {
            return Err(format!("tensor {name} stands there twice"));
        }
        let dtype = dtype_of(kind);
        let values = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
        let cols = shape.last().copied().unwrap_or(1);
        let bytes = match (&dtype, values) {
            (_, None) => return Err(format!("tensor {name}: shape {shape:?} is too large")),
            (Ok(dtype), Some(_)) if cols % dtype.block().0 != 0 => {
                return Err(format!("tensor {name}: rows of {cols} values do not divide into {dtype} blocks"));
            }
            (Ok(dtype), Some(values)) => {
                dtype.bytes(values).ok_or(format!("tensor {name}: shape {shape:?} is too large"))?
            }
            (Err(_), Some(_)) => 0,
        };
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(data)?.checked_add(bytes));
        let Some(end) = end.filter(|end| *end <= file_len) else {
            return Err(format!(
                "tensor {name}: {bytes} bytes at data offset {offset} end beyond the file of {file_len} bytes"
            ));
        };
        if offset % alignment as u64 != 0 {
            return Err(format!("tensor {name}: expected an offset that is a multiple of {alignment}, found {offset}"));
        }
        tensors.push(TensorInfo { name, dtype, shape, bytes, file: 0, offset: end - bytes });
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
    order.sort_by_key(|tensor| tensor.offset);
    if let Some(pair) = order.windows(2).find(|pair| pair[0].offset + pair[0].bytes > pair[1].offset) {
        return Err(format!("tensors {} and {} overlap", pair[0].name, pair[1].name));
    }
    Ok(tensors)
}

/// ggml's type numbers; those we cannot read give their name.
fn dtype_of(kind: u32) -> std::result::Result<DType, String> {
    Ok(match kind {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        30 => DType::Bf16,
        9 => return Err("Q8_1".into()),
        10 => return Err("Q2_K".into()),
        11 => return Err("Q3_K".into()),
        15 => return Err("Q8_K".into()),
        16..=23 | 29 => return Err(format!("IQ (ggml type {kind})")),
        _ => return Err(format!("ggml type {kind}")),
    })
}

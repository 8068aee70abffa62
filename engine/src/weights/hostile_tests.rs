//! Files that are truncated, inconsistent or made to do harm: an error each, never a panic, never much memory.

use super::tests::{UNTOLD, golden, open_and_load, tiny};
use super::*;
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

/// A GGUF under construction.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(tensors: u64, entries: u64) -> Self {
        Bytes(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }
    fn u32(mut self, x: u32) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }
    fn u64(mut self, x: u64) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }
    fn text(mut self, x: &str) -> Self {
        self = self.u64(x.len() as u64);
        self.0.extend(x.as_bytes());
        self
    }
    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let named = self.text(name).u32(dims.len() as u32);
        dims.iter().fold(named, |c, dim| c.u64(*dim)).u32(kind).u64(offset)
    }
    fn zeros(mut self, n: usize) -> Self {
        self.0.resize(self.0.len() + n, 0);
        self
    }
    /// What opening says.
    fn error(self) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.0).unwrap();
        match Gguf::open(file.path()) {
            Ok(_) => "accepted".into(),
            Err(error) => {
                assert_eq!(error.code(), 5, "{error}");
                error.to_string()
            }
        }
    }
}

#[test]
fn lying_gguf_headers_are_refused_with_the_reason() {
    let huge = u64::MAX;
    let cases = [
        ("version", Bytes(b"GGUF".to_vec()).u32(1).u64(0).u64(0)),
        ("version", Bytes(b"GGUF".to_vec()).u32(3u32.swap_bytes()).u64(0).u64(0)),
        ("GGUF", Bytes(b"GGML".to_vec()).u32(3).u64(0).u64(0)),
        ("magic", Bytes(b"GG".to_vec())),
        ("metadata count", Bytes(b"GGUF".to_vec()).u32(3).u64(0)),
        ("bytes are left", Bytes::new(huge, 0)),
        ("bytes are left", Bytes::new(0, huge)),
        ("bytes are left", Bytes::new(0, 1 << 32).zeros(100)),
        ("metadata key", Bytes::new(0, 1).u64(huge).zeros(20)),
        ("metadata key", Bytes::new(0, 1).u64(1 << 40).zeros(20)),
        ("unknown value type 13", Bytes::new(0, 1).text("a").u32(13).zeros(20)),
        ("metadata a", Bytes::new(0, 1).text("a").u32(8).u64(huge - 7).zeros(20)),
        // Arrays: of arrays, longer than the file, of texts longer than the file.
        ("arrays of value type 9", Bytes::new(0, 1).text("a").u32(9).u32(9).u64(1).zeros(40)),
        ("bytes are left", Bytes::new(0, 1).text("a").u32(9).u32(0).u64(huge).zeros(20)),
        ("bytes are left", Bytes::new(0, 1).text("a").u32(9).u32(8).u64(1 << 61).zeros(20)),
        ("bytes are left", Bytes::new(0, 1).text("a").u32(9).u32(10).u64(1 << 61).zeros(20)),
        ("metadata a", Bytes::new(0, 1).text("a").u32(9).u32(8).u64(2).u64(100).zeros(20)),
        ("out of range", Bytes::new(0, 1).text("a").u32(9).u32(10).u64(1).u64(huge)),
        ("twice", Bytes::new(0, 2).text("a").u32(4).u32(1).text("a").u32(4).u32(1)),
        ("alignment", Bytes::new(0, 1).text("general.alignment").u32(4).u32(0)),
        ("alignment", Bytes::new(0, 1).text("general.alignment").u32(8).text("32")),
        // Tensors: dimensions, sizes, places.
        ("dimensions", Bytes::new(1, 0).text("t").u32(5).zeros(100)),
        ("dimensions", Bytes::new(1, 0).text("t").u32(u32::MAX).zeros(100)),
        ("too large", Bytes::new(1, 0).tensor("t", &[1 << 33, 1 << 33], 0, 0).zeros(100)),
        ("too large", Bytes::new(1, 0).tensor("t", &[1 << 62, 2], 0, 0).zeros(100)),
        ("beyond the file", Bytes::new(1, 0).tensor("t", &[8], 0, 1 << 40).zeros(100)),
        ("beyond the file", Bytes::new(1, 0).tensor("t", &[8], 0, huge - 31).zeros(100)),
        ("beyond the file", Bytes::new(1, 0).tensor("t", &[1000], 0, 0).zeros(100)),
        ("beyond the file", Bytes::new(1, 0).tensor("t", &[1000], 77, huge - 31).zeros(100)),
        ("multiple of 32", Bytes::new(1, 0).tensor("t", &[8], 0, 4).zeros(100)),
        ("Q4_0 blocks", Bytes::new(1, 0).tensor("t", &[33], 2, 0).zeros(100)),
        ("Q6_K blocks", Bytes::new(1, 0).tensor("t", &[128, 2], 14, 0).zeros(1000)),
        ("twice", Bytes::new(2, 0).tensor("t", &[8], 0, 0).tensor("t", &[8], 0, 32).zeros(200)),
        ("overlap", Bytes::new(2, 0).tensor("t", &[16], 0, 0).tensor("u", &[8], 0, 32).zeros(200)),
        ("accepted", Bytes::new(2, 0).tensor("t", &[8], 0, 0).tensor("u", &[8], 0, 32).zeros(200)),
        ("at most 1024", Bytes::new(0, 1).text(&"a".repeat(1025)).zeros(40)),
        ("accepted", Bytes(b"GGUF".to_vec()).u32(2).u64(0).u64(0)),
        ("UTF-8", Bytes::new(0, 1).u64(2).u32(0x0000_ffff).zeros(40)),
    ];
    for (i, (word, bytes)) in cases.into_iter().enumerate() {
        let error = bytes.error();
        assert!(error.contains(word), "case {i}: expected {word}, found {error}");
    }
}

/// Replaces the value of one metadata entry of the golden GGUF, found by its key and type.
fn gguf_with(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = std::fs::read(golden("gguf/model.gguf")).unwrap();
    let entry = Bytes(Vec::new()).text(key).u32(kind).0;
    let at = bytes.windows(entry.len()).position(|window| window == entry).expect(key) + entry.len();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn a_gguf_whose_metadata_and_tensors_disagree_is_refused() {
    for (key, kind, value, word) in [
        ("general.architecture", 8, [&5u64.to_le_bytes()[..], b"qwen2"].concat(), "architecture qwen2"),
        ("llama.block_count", 4, 2u32.to_le_bytes().to_vec(), "model.layers.1.input_layernorm.weight"),
        ("llama.block_count", 4, 0u32.to_le_bytes().to_vec(), "number of layers"),
        (
            "llama.embedding_length",
            4,
            32u32.to_le_bytes().to_vec(),
            "model.embed_tokens.weight: expected shape [40, 32]",
        ),
        (
            "llama.attention.head_count",
            4,
            6u32.to_le_bytes().to_vec(),
            "self_attn.q_proj.weight: expected shape [96, 64]",
        ),
        ("llama.attention.head_count_kv", 4, 3u32.to_le_bytes().to_vec(), "not a multiple"),
        ("llama.rope.dimension_count", 4, 7u32.to_le_bytes().to_vec(), "even"),
        ("llama.rope.freq_base", 6, f32::NAN.to_le_bytes().to_vec(), "rope_theta"),
        ("llama.vocab_size", 4, 41u32.to_le_bytes().to_vec(), "llama.vocab_size is 41"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), gguf_with(key, kind, &value)).unwrap();
        let error = open_and_load(file.path()).expect_err(key).to_string();
        assert!(error.contains(word), "{key}: {error}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::copy(golden("gguf/model/config.json"), folder.path().join("config.json")).unwrap();
    let (gguf, whole) = (golden("gguf/model.gguf"), golden("gguf/model/model.safetensors"));
    let (gguf, whole) = (std::fs::read(gguf).unwrap(), std::fs::read(whole).unwrap());
    std::fs::write(&path, &whole).unwrap();
    assert!(open_and_load(folder.path()).is_ok());
    let cut = folder.path().join("cut.gguf");
    // All short lengths, then every 97th, and the last byte.
    let lengths = |len: usize| (0..len).filter(move |n| *n < 300 || n % 97 == 0 || *n + 1 == len);
    for len in lengths(whole.len()) {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(open_and_load(folder.path()).unwrap_err().code(), 5, "{len} bytes");
    }
    for len in lengths(gguf.len()) {
        std::fs::write(&cut, &gguf[..len]).unwrap();
        assert_eq!(open_and_load(&cut).unwrap_err().code(), 5, "{len} bytes");
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(open_and_load(folder.path()).unwrap_err().code(), 4, "no config.json");
    assert_eq!(open_and_load(&folder.path().join("nothing")).unwrap_err().code(), 4);
    std::fs::write(folder.path().join("config.json"), tiny().to_json().to_string()).unwrap();
    assert_eq!(open_and_load(folder.path()).unwrap_err().code(), 5, "no weights");
    assert_eq!(open_and_load(&folder.path().join("config.json")).unwrap_err().code(), 5);
    std::fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    assert_eq!(open_and_load(folder.path()).unwrap_err().code(), 7, "pickles are named");
    assert_eq!(open_and_load(Path::new("/dev/null")).unwrap_err().code(), 5);
}

/// An edit of a file: where (as a fraction of the part that is edited), and what.
#[derive(Debug, Clone)]
enum Edit {
    Set(f64, u8),
    /// Little-endian number of eight bytes: sizes, offsets and counts at their extremes.
    Number(f64, u64),
    Remove(f64, usize),
    Insert(f64, Vec<u8>),
    Cut(f64),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || 0.0..1.0f64;
    let number = prop_oneof![
        Just(u64::MAX),
        Just(u64::MAX - 31),
        Just(1 << 63),
        Just(1 << 32),
        0..300u64,
        any::<u64>(),
        (0..64u32).prop_map(|shift| 1u64 << shift),
    ];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (at(), number).prop_map(|(at, number)| Edit::Number(at, number)),
        1 => (at(), 1..40usize).prop_map(|(at, n)| Edit::Remove(at, n)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => at().prop_map(Edit::Cut),
    ]
}

/// Applies the edits to the first `part` bytes, where all that is parsed lies.
fn mutate(mut bytes: Vec<u8>, part: usize, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: &f64| (at * part.min(bytes.len()) as f64) as usize;
        match edit {
            Edit::Set(at, byte) => {
                let at = place(at);
                if let Some(x) = bytes.get_mut(at) {
                    *x = *byte;
                }
            }
            Edit::Number(at, number) => {
                let at = place(at);
                for (x, y) in bytes.iter_mut().skip(at).zip(number.to_le_bytes()) {
                    *x = y;
                }
            }
            Edit::Remove(at, n) => {
                let at = place(at);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Edit::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

static SHARDED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap();
    write::random_sharded(&tiny(), 5, &home.path().join("m"), 1000, &mut UNTOLD.clone()).unwrap();
    home
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Loading either succeeds or gives an error of the file; nothing panics.
    #[test]
    fn damaged_gguf_never_panics(edits in prop::collection::vec(edit(), 1..6)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Metadata and tensor table of the golden file end before byte 3600.
        let bytes = mutate(std::fs::read(golden("gguf/model.gguf")).unwrap(), 3600, &edits);
        std::fs::write(file.path(), bytes).unwrap();
        if let Err(error) = open_and_load(file.path()) {
            prop_assert!([1, 4, 5, 7].contains(&error.code()), "{error}");
        }
    }

    #[test]
    fn damaged_safetensors_never_panic(edits in prop::collection::vec(edit(), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = mutate(std::fs::read(golden("gguf/model/model.safetensors")).unwrap(), 1400, &edits);
        std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        std::fs::copy(golden("gguf/model/config.json"), folder.path().join("config.json")).unwrap();
        if let Err(error) = open_and_load(folder.path()) {
            prop_assert!([1, 4, 5, 7].contains(&error.code()), "{error}");
        }
    }

    #[test]
    fn damaged_configurations_and_indexes_never_panic(
        edits in prop::collection::vec(edit(), 1..4),
        which in 0..2usize,
    ) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("m");
        std::fs::create_dir(&folder).unwrap();
        for file in SHARDED.path().join("m").read_dir().unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
        let path = folder.join(["config.json", "model.safetensors.index.json"][which]);
        let bytes = std::fs::read(&path).unwrap();
        let part = bytes.len();
        std::fs::write(&path, mutate(bytes, part, &edits)).unwrap();
        if let Err(error) = open_and_load(&folder) {
            prop_assert!([1, 4, 5, 7].contains(&error.code()), "{error}");
        }
    }

    #[test]
    fn damaged_adapters_never_panic(edits in prop::collection::vec(edit(), 1..4), which in 0..2usize) {
        let folder = tempfile::tempdir().unwrap();
        let names = ["adapter_config.json", "adapter_model.safetensors"];
        for (i, name) in names.iter().enumerate() {
            let bytes = std::fs::read(golden("mistral_window/patterns").join(name)).unwrap();
            let part = bytes.len().min(1200);
            let bytes = if i == which { mutate(bytes, part, &edits) } else { bytes };
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let model = ModelConfig::read_json(&golden("mistral_window/model/config.json")).unwrap();
        if let Err(error) = PeftAdapter::open(folder.path(), &model) {
            prop_assert!([1, 4, 5, 7].contains(&error.code()), "{error}");
        }
    }
}

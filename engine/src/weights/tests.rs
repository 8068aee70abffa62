//! The room as a whole: files of other implementations, files that lie, files of our own.

use super::*;
use crate::Result;
use half::bf16;
use std::path::{Path, PathBuf};

pub(super) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

/// Loads everything that the configuration names, as the model does.
fn load(checkpoint: &Checkpoint) -> Result<Vec<(String, Vec<f32>)>> {
    checkpoint.check_complete()?;
    checkpoint
        .config()
        .tensors()
        .map(|(name, shape)| {
            let values = match shape[..] {
                [rows, cols] => checkpoint.matrix(&name, rows, cols)?.data.iter().map(|x| x.to_f32()).collect(),
                _ => checkpoint.vector(&name, shape[0])?,
            };
            Ok((name, values))
        })
        .collect()
}

pub(super) fn open_and_load(path: &Path) -> Result<Vec<(String, Vec<f32>)>> {
    load(&Checkpoint::open(path)?)
}

/// Blocks of every type, against the `gguf` package.
#[test]
fn blocks_dequantise_as_the_gguf_package_does() {
    let bytes = std::fs::read(golden("gguf/blocks.safetensors")).unwrap();
    let file = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let types = [DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0, DType::Q4K, DType::Q5K, DType::Q6K];
    assert_eq!(file.len(), 2 * types.len());
    for dtype in types {
        let stored = file.tensor(&format!("{dtype}.stored")).unwrap();
        let want: &[f32] = &bytemuck::pod_collect_to_vec(file.tensor(&format!("{dtype}.values")).unwrap().data());
        assert_eq!(dtype.bytes(want.len()), Some(stored.data().len()));
        let mut got = vec![0.0; want.len()];
        dequantize::to_f32(dtype, stored.data(), &mut got);
        assert_eq!(got, want, "{dtype}");
        let mut rounded = vec![bf16::ZERO; want.len()];
        dequantize::to_bf16(dtype, stored.data(), &mut rounded);
        assert!(rounded.iter().zip(want).all(|(x, y)| *x == bf16::from_f32(*y)), "{dtype}");
    }
}

/// Every storage type, the interleaved q and k, the untied head and the configuration.
#[test]
fn a_gguf_holds_the_same_model_as_the_folder_it_was_made_from() {
    let (gguf, folder) = (golden("gguf/model.gguf"), golden("gguf/model"));
    let (gguf, folder) = (Checkpoint::open(&gguf).unwrap(), Checkpoint::open(&folder).unwrap());
    assert_eq!(gguf.config(), folder.config());
    for (got, want) in load(&gguf).unwrap().into_iter().zip(load(&folder).unwrap()) {
        assert_eq!(got.0, want.0);
        // Vectors stay f32 on our side; the folder holds them in bf16.
        let same = got.1.iter().zip(&want.1).all(|(x, y)| bf16::from_f32(*x).to_f32() == *y);
        assert!(same && got.1.len() == want.1.len(), "{}", got.0);
    }
    assert_ne!(gguf.id().unwrap(), folder.id().unwrap());
    assert_eq!(gguf.base_id().unwrap(), folder.base_id().unwrap(), "an adapter fits both");
    let (bf16_gguf, bf16_folder) = ("model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.up_proj.weight");
    assert!(matches!(gguf.matrix(bf16_gguf, 64, 96).unwrap().data, MatrixData::Mapped { .. }), "bf16 is not copied");
    assert!(
        matches!(folder.matrix(bf16_folder, 96, 64).unwrap().data, MatrixData::Mapped { .. }),
        "bf16 is not copied"
    );
    assert!(matches!(gguf.matrix(bf16_folder, 96, 64).unwrap().data, MatrixData::Pages(_)));
}

#[test]
fn metadata_of_a_gguf_is_typed() {
    let gguf = Gguf::open(&golden("gguf/model.gguf")).unwrap();
    assert_eq!(gguf.text("tokenizer.ggml.model").unwrap(), Some("llama"));
    assert_eq!(gguf.texts("tokenizer.ggml.tokens").unwrap().unwrap().iter().nth(39), Some("t39é"));
    assert_eq!(gguf.floats("tokenizer.ggml.scores").unwrap().unwrap()[3], -1.5);
    assert_eq!(gguf.ints("tokenizer.ggml.token_type").unwrap().unwrap(), [1; 40]);
    assert_eq!(gguf.boolean("tokenizer.ggml.add_bos_token").unwrap(), Some(true));
    assert_eq!(gguf.uint("tokenizer.ggml.bos_token_id").unwrap(), Some(1));
    assert_eq!(gguf.float("llama.rope.freq_base").unwrap(), Some(5e4));
    assert_eq!(gguf.text("no.such.key").unwrap(), None);
    assert_eq!(gguf.uint("tokenizer.ggml.model").unwrap_err().code(), 5);
}

/// Folders written by transformers: window and no window, tied and untied, a head width that is not C/H.
#[test]
fn folders_written_by_transformers_are_complete() {
    for (name, window, tied, head_dim, theta) in [
        ("mistral_window", Some(8), false, 8, 1e4),
        ("mistral_mqa", None, false, 16, 1e4),
        ("llama_tied_odd", None, true, 14, 5e5),
        ("mistral_d32", Some(16), false, 32, 1e4),
        ("llama_d64", None, true, 64, 1e5),
        ("mistral_d128", Some(33), false, 128, 1e6),
    ] {
        let checkpoint = Checkpoint::open(&golden(name).join("model")).unwrap();
        let config = checkpoint.config();
        assert_eq!((config.sliding_window, config.tied_head), (window, tied), "{name}");
        assert_eq!((config.head_dim, config.rope_theta, config.rms_norm_eps), (head_dim, theta, 1e-5), "{name}");
        assert_eq!(config.architecture == Architecture::Llama, name.starts_with("llama"));
        load(&checkpoint).unwrap();
    }
}

#[test]
fn a_stored_head_beside_a_tied_one_is_refused() {
    let folder = folder_with("none", None);
    let config = ModelConfig { tied_head: true, ..tiny() };
    std::fs::write(folder.path().join("config.json"), config.to_json().to_string()).unwrap();
    let error = open_and_load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(HEAD) && error.contains("ties"), "{error}");
}

#[test]
fn a_file_that_changes_under_us_is_reported() {
    let folder = folder_with("none", None);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    checkpoint.id().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("model.safetensors")).unwrap();
    file.set_len(100).unwrap();
    assert_eq!(checkpoint.id().unwrap_err().code(), 5);
    assert_eq!(checkpoint.base_id().unwrap_err().code(), 5);
    assert_eq!(checkpoint.file_hashes(&UNTOLD).unwrap_err().code(), 5);
}

/// The whole demo model, when it is there.
#[test]
fn the_demo_model_is_complete() {
    let Ok(path) = std::env::var("BMN_DEMO_MODEL") else {
        println!("SKIPPED the_demo_model_is_complete: set BMN_DEMO_MODEL, `make test` does");
        return;
    };
    let checkpoint = Checkpoint::open(Path::new(&path)).unwrap();
    let config = checkpoint.config();
    assert_eq!((config.layers, config.heads, config.kv_heads, config.head_dim), (30, 9, 3, 64));
    assert_eq!((config.vocab_size, config.rope_theta, config.tied_head), (49_152, 1e5, true));
    assert_eq!(load(&checkpoint).unwrap().iter().map(|(_, values)| values.len()).sum::<usize>(), 134_515_008);
}

pub(super) fn tiny() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 6,
        intermediate_size: 10,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        head_dim: 4,
        vocab_size: 11,
        rope_theta: 1e4,
        rms_norm_eps: 1e-5,
        sliding_window: Some(7),
        max_positions: 64,
        tied_head: false,
    }
}

pub(super) const UNTOLD: fn(u64, u64) -> bool = |_, _| true;

#[test]
fn written_folders_are_read_back_whatever_the_shards() {
    let home = tempfile::tempdir().unwrap();
    let one = home.path().join("one");
    random_checkpoint(&tiny(), 5, &one, &mut UNTOLD.clone()).unwrap();
    let checkpoint = Checkpoint::open(&one).unwrap();
    assert_eq!(checkpoint.config(), &tiny());
    let want = load(&checkpoint).unwrap();
    for shard in [1, 200, 1000] {
        let (again, copy) = (home.path().join(format!("again{shard}")), home.path().join(format!("copy{shard}")));
        write::random_sharded(&tiny(), 5, &again, shard, &mut UNTOLD.clone()).unwrap();
        assert!(again.join("model.safetensors.index.json").exists());
        Checkpoint::open(&again).unwrap().write_safetensors(&copy, &mut UNTOLD.clone()).unwrap();
        for folder in [again, copy] {
            let other = Checkpoint::open(&folder).unwrap();
            assert_eq!(load(&other).unwrap(), want);
            assert_eq!(other.id().unwrap(), checkpoint.id().unwrap(), "the identity does not see shards");
            assert_eq!(other.base_id().unwrap(), checkpoint.base_id().unwrap());
        }
    }
    let other = home.path().join("other");
    random_checkpoint(&tiny(), 6, &other, &mut UNTOLD.clone()).unwrap();
    assert_ne!(Checkpoint::open(&other).unwrap().id().unwrap(), checkpoint.id().unwrap());
    assert_ne!(Checkpoint::open(&other).unwrap().base_id().unwrap(), checkpoint.base_id().unwrap());
    let hash = &checkpoint.file_hashes(&UNTOLD).unwrap()[0];
    let bytes = std::fs::read(one.join("model.safetensors")).unwrap();
    let want = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    assert_eq!((hash.bytes, &hash.sha256), (bytes.len() as u64, &peft::hex(&want)));
    assert_eq!(checkpoint.file_hashes(&|_, _| false).unwrap_err().code(), 12);
}

#[test]
fn random_weights_have_the_spread_they_claim() {
    let home = tempfile::tempdir().unwrap();
    let config = ModelConfig { vocab_size: 40_000, hidden_size: 16, ..tiny() };
    random_checkpoint(&config, 1, &home.path().join("m"), &mut UNTOLD.clone()).unwrap();
    let checkpoint = Checkpoint::open(&home.path().join("m")).unwrap();
    let table = checkpoint.matrix(EMBEDDING, 40_000, 16).unwrap().data.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let head = checkpoint.matrix(HEAD, 40_000, 16).unwrap().data.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let n = table.len() as f64;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / n / 0.0004;
    // Standard errors at n = 640,000: mean 0.00125, variance 0.0018, correlations 0.00125; six of each are allowed.
    assert!(table.iter().sum::<f64>().abs() / n / 0.02 < 0.0075);
    assert!((dot(&table, &table) - 1.0).abs() < 0.011);
    assert!(dot(&table, &head).abs() < 0.0075 && dot(&table[1..], &table).abs() < 0.0075);
    assert!(dot(&table[16..], &table).abs() < 0.0075);
}

#[test]
fn converting_keeps_every_value() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("converted");
    let gguf = Checkpoint::open(&golden("gguf/model.gguf")).unwrap();
    gguf.write_safetensors(&folder, &mut UNTOLD.clone()).unwrap();
    let converted = Checkpoint::open(&folder).unwrap();
    assert_eq!(converted.config(), gguf.config());
    assert_eq!(load(&converted).unwrap(), load(&gguf).unwrap());
    assert_eq!(converted.base_id().unwrap(), gguf.base_id().unwrap());
}

#[test]
fn nothing_half_written_stays() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("m");
    let mut pieces = 0;
    let mut stop = |_, _| {
        pieces += 1;
        pieces < 5
    };
    assert_eq!(random_checkpoint(&tiny(), 1, &folder, &mut stop).unwrap_err().code(), 12);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(random_checkpoint(&tiny(), 1, &folder, &mut UNTOLD.clone()).unwrap_err().code(), 1);
    assert!(folder.read_dir().unwrap().next().is_none(), "an existing folder is left alone");
}

/// A tensor for [`safetensors_file`]: name, type, shape, bytes.
type Stored<'a> = (&'a str, ::safetensors::Dtype, Vec<usize>, Vec<u8>);

fn safetensors_file(path: &Path, tensors: &[Stored<'_>]) {
    fn view<'a>((name, dtype, shape, bytes): &'a Stored<'_>) -> (String, ::safetensors::tensor::TensorView<'a>) {
        let view = ::safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.to_string(), view)
    }
    ::safetensors::serialize_to_file(tensors.iter().map(view).collect::<Vec<_>>(), None, path).unwrap();
}

/// A tiny model folder in which one tensor was replaced, or added, or (with `None`) left out.
fn folder_with(name: &str, tensor: Option<(::safetensors::Dtype, Vec<usize>, Vec<u8>)>) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.json"), tiny().to_json().to_string()).unwrap();
    let all: Vec<(String, Vec<usize>)> = tiny().tensors().filter(|(other, _)| other != name).collect();
    let zeros = |shape: &Vec<usize>| vec![0; 2 * shape.iter().product::<usize>()];
    let mut tensors: Vec<Stored<'_>> = all
        .iter()
        .map(|(name, shape)| (name.as_str(), ::safetensors::Dtype::BF16, shape.clone(), zeros(shape)))
        .collect();
    if let Some((dtype, shape, bytes)) = tensor {
        tensors.push((name, dtype, shape, bytes));
    }
    safetensors_file(&home.path().join("model.safetensors"), &tensors);
    home
}

#[test]
fn f16_and_f32_are_rounded_to_nearest_even() {
    use ::safetensors::Dtype::{F16, F32};
    let name = "model.layers.1.self_attn.k_proj.weight";
    // Halfway between two bf16 neighbours, just above and just below it, signs, zero, infinity.
    let f32s = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.0 + 1.1 / 256.0, 1.0 + 0.9 / 256.0, -1.003_906_2, 0.0];
    let want = [1.0, 1.0 + 4.0 / 256.0, 1.0 + 2.0 / 256.0, 1.0, -1.0, 0.0];
    let bytes = |of: &dyn Fn(f32) -> Vec<u8>| (0..24).flat_map(|i| of(f32s[i % 6])).collect::<Vec<u8>>();
    let f16_want = [1.0, 1.0 + 4.0 / 256.0, 1.0, 1.0, -1.0, 0.0];
    for (dtype, bytes, want) in [
        (F32, bytes(&|x| x.to_le_bytes().to_vec()), want),
        (F16, bytes(&|x| half::f16::from_f32(x).to_le_bytes().to_vec()), f16_want),
    ] {
        let folder = folder_with(name, Some((dtype, vec![4, 6], bytes)));
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.check_complete().unwrap();
        let got: Vec<f32> = checkpoint.matrix(name, 4, 6).unwrap().data.iter().map(|x| x.to_f32()).collect();
        assert!((0..24).all(|i| got[i] == want[i % 6]), "{dtype:?} {got:?}");
    }
}

#[test]
fn a_wrong_tensor_is_named_with_what_was_expected_and_found() {
    use ::safetensors::Dtype::{BF16, F32, F64};
    let name = "model.layers.1.self_attn.k_proj.weight";
    let check = |name: &str, tensor: Option<(::safetensors::Dtype, Vec<usize>, Vec<u8>)>| {
        let folder = folder_with(name, tensor);
        Checkpoint::open(folder.path()).unwrap().check_complete()
    };
    check(name, Some((BF16, vec![4, 6], vec![0; 48]))).unwrap();
    for (tensor, name, words) in [
        (None, name, vec!["[4, 6]", "no such tensor"]),
        (Some((BF16, vec![6, 4], vec![0; 48])), name, vec!["[4, 6]", "[6, 4]"]),
        (Some((BF16, vec![24], vec![0; 48])), name, vec!["[4, 6]", "[24]"]),
        (Some((F64, vec![4, 6], vec![0; 192])), name, vec!["not supported", "F64"]),
        (
            Some((BF16, vec![4, 6], vec![0; 48])),
            "model.layers.2.self_attn.k_proj.weight",
            vec!["no such tensor", "[4, 6]"],
        ),
        (Some((BF16, vec![4], vec![0; 8])), "model.layers.0.self_attn.q_proj.bias", vec!["no such tensor"]),
        (Some((F32, vec![2], vec![1; 8])), "rope_freqs.weight", vec!["not supported"]),
    ] {
        let error = check(name, tensor).expect_err(name).to_string();
        assert!(error.contains(name) && words.iter().all(|word| error.contains(word)), "{error}");
    }
    check("model.layers.0.self_attn.rotary_emb.inv_freq", Some((F32, vec![2], vec![1; 8]))).unwrap();
    check("rope_freqs.weight", Some((F32, vec![2], [1f32.to_le_bytes(); 2].concat()))).unwrap();
}

#[test]
fn shards_and_index_must_agree() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("m");
    write::random_sharded(&tiny(), 5, &folder, 200, &mut UNTOLD.clone()).unwrap();
    let index = folder.join("model.safetensors.index.json");
    let good: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let first = good["weight_map"]["lm_head.weight"].clone();
    for (name, shard, word) in [
        ("model.norm.weight", serde_json::json!(first), "model.norm.weight"),
        ("no.such.tensor", serde_json::json!(first), "no.such.tensor"),
        ("model.norm.weight", serde_json::json!("../m/model.safetensors"), "without folders"),
        ("model.norm.weight", serde_json::json!(".."), "without folders"),
        ("model.norm.weight", serde_json::json!("/etc/hostname"), "without folders"),
        ("model.norm.weight", serde_json::json!(3), "without folders"),
        ("model.norm.weight", serde_json::json!("missing.safetensors"), "missing.safetensors"),
    ] {
        let mut bad = good.clone();
        bad["weight_map"][name] = shard;
        std::fs::write(&index, bad.to_string()).unwrap();
        let error = Checkpoint::open(&folder).err().expect(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut bad = good;
    bad["weight_map"].as_object_mut().unwrap().remove("model.norm.weight");
    std::fs::write(&index, bad.to_string()).unwrap();
    assert!(Checkpoint::open(&folder).err().unwrap().to_string().contains("model.norm.weight"));
}

#[test]
fn configurations_are_read_strictly() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.json");
    let read = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut json = tiny().to_json();
        edit(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        ModelConfig::read_json(&path)
    };
    assert_eq!(read(&|_| ()).unwrap(), tiny());
    let with = |key: &str, value: serde_json::Value| read(&|json| json[key] = value.clone());
    let new_style = read(&|json| {
        json.as_object_mut().unwrap().remove("rope_theta");
        json["rope_parameters"] = serde_json::json!({"rope_theta": 5e5, "rope_type": "default"});
    });
    assert_eq!(new_style.unwrap().rope_theta, 5e5);
    assert_eq!(with("sliding_window", serde_json::Value::Null).unwrap().sliding_window, None);
    let derived = read(&|json| {
        json["hidden_size"] = 24.into();
        json.as_object_mut().unwrap().remove("head_dim");
    });
    assert_eq!(derived.unwrap().head_dim, 8);
    for (key, value, code) in [
        ("architectures", serde_json::json!(["MixtralForCausalLM"]), 7),
        ("architectures", serde_json::json!(["MistralForCausalLM", "X"]), 5),
        ("attention_bias", true.into(), 7),
        ("mlp_bias", true.into(), 7),
        ("hidden_act", "gelu".into(), 7),
        ("quantization_config", serde_json::json!({"bits": 4}), 7),
        ("rope_scaling", serde_json::json!({"type": "linear", "factor": 2.0}), 7),
        ("rope_scaling", serde_json::json!({"rope_type": "llama3", "factor": 8.0}), 7),
        ("rope_scaling", serde_json::json!({"factor": 8.0}), 7),
        ("rope_parameters", serde_json::json!({"rope_type": "yarn"}), 7),
        ("rope_parameters", serde_json::json!({"rope_type": "default", "rope_theta": 3e4}), 5),
        ("partial_rotary_factor", 0.5.into(), 7),
        ("num_key_value_heads", 2.into(), 5),
        ("head_dim", 3.into(), 5),
        ("vocab_size", 0.into(), 5),
        ("vocab_size", (1u64 << 60).into(), 5),
        ("num_hidden_layers", (1u64 << 40).into(), 5),
        ("num_hidden_layers", (-1).into(), 5),
        ("hidden_size", "6".into(), 5),
        ("hidden_size", 6.5.into(), 5),
        ("rms_norm_eps", 0.into(), 5),
        ("rms_norm_eps", serde_json::Value::Null, 5),
        ("rope_theta", (-1).into(), 5),
        ("sliding_window", 0.into(), 5),
        ("sliding_window", "4096".into(), 5),
        ("tie_word_embeddings", 1.into(), 5),
    ] {
        let error = with(key, value.clone()).expect_err(key);
        assert_eq!(error.code(), code, "{key} {value}: {error}");
    }
    let missing = read(&|json| drop(json.as_object_mut().unwrap().remove("sliding_window")));
    assert!(missing.unwrap_err().to_string().contains("sliding_window"));
    std::fs::write(&path, "[".repeat(100_000)).unwrap();
    assert_eq!(ModelConfig::read_json(&path).unwrap_err().code(), 5);
}

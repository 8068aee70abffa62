//! A PEFT LoRA folder: `adapter_config.json` and `adapter_model.safetensors`.

use super::config_json::{Fields, read_object};
use super::dequantize::to_bf16;
use super::safetensors::open_file;
use super::{ModelConfig, TensorInfo};
use crate::{Error, Result};
use half::bf16;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Key of the base model's identity in the weight file's metadata, which PEFT does not read.
pub(super) const BASE: &str = "base_model_weights";
const MAX_CONFIG: u64 = 4 << 20;
/// No rank is larger than a model is wide.
const MAX_RANK: usize = 1 << 16;

/// The projections that an adapter may touch, in the order of a forward pass.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Keys that say how the adapter was made or trained, not what it computes. (Which modules it touches is read from the
/// stored tensors; `target_modules` only tells what must be among them.)
const IGNORED: [&str; 19] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "peft_type",
];
/// Keys that are read below.
const READ: [&str; 6] = ["r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern"];

/// The low-rank update of one projection: `y += scale · (x Aᵀ) Bᵀ`.
pub struct AdapterPart {
    /// Block of the model.
    pub layer: usize,
    /// One of [`TARGETS`].
    pub target: &'static str,
    /// `R`.
    pub rank: usize,
    /// `alpha / R`, or `alpha / sqrt(R)` where the adapter is rank-stabilised.
    pub scale: f32,
    /// `A`: `[R, K]`.
    pub a: Vec<bf16>,
    /// `B`: `[N, R]`.
    pub b: Vec<bf16>,
}

impl AdapterPart {
    /// Name of the weight that it changes.
    pub fn weight_name(&self) -> String {
        let target = TARGETS.iter().position(|target| *target == self.target).unwrap_or(0);
        format!("{}.weight", module_name(self.layer, target))
    }

    /// `out = scale · (B A)[row, :]`, `[K]` f32, ranks in order.
    pub fn product_row(&self, row: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (b, a) in self.b[row * self.rank..][..self.rank].iter().zip(self.a.chunks(out.len())) {
            let factor = b.to_f32();
            out.iter_mut().zip(a).for_each(|(y, a)| *y += factor * a.to_f32());
        }
        out.iter_mut().for_each(|y| *y *= self.scale);
    }
}

/// A LoRA adapter in memory, its shapes checked against the model.
pub struct PeftAdapter {
    parts: Vec<AdapterPart>,
    id: String,
    file: String,
    base: Option<String>,
}

impl PeftAdapter {
    /// Reads the adapter in `folder` for a model of shape `model`. Weights are rounded to bf16.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming an option that computes something else than `alpha/r · B A` on linear layers;
    /// [`Error::Shape`] and [`Error::Format`] naming the tensor; [`Error::Io`].
    pub fn open(folder: &Path, model: &ModelConfig) -> Result<Self> {
        crate::reserve::check()?;
        let config_path = folder.join(CONFIG);
        let map = read_object(&config_path, MAX_CONFIG)?;
        let name = config_path.display().to_string();
        let options = Options::read(&Fields { file: &name, map: &map })?;
        let path = folder.join(WEIGHTS);
        if !path.exists() && folder.join("adapter_model.bin").exists() {
            return Err(Error::unsupported(format!("{}: pickled adapter (adapter_model.bin)", folder.display())));
        }
        let mut file = open_file(&path, 0)?;
        let base = file.metadata.remove(BASE);
        let weights = path.display().to_string();
        let mut halves: BTreeMap<(usize, usize), [Option<&TensorInfo>; 2]> = BTreeMap::new();
        for tensor in &file.tensors {
            let Some((layer, target, half)) = place(&tensor.name) else {
                return Err(Error::unsupported(format!("{weights}: adapter tensor {}", tensor.name)));
            };
            if layer >= model.layers {
                let why = format!("tensor {}: the model has {} layers", tensor.name, model.layers);
                return Err(Error::format(weights, why));
            }
            halves.entry((layer, target)).or_default()[half] = Some(tensor);
        }
        options.check_targets(&halves.keys().copied().collect::<Vec<_>>(), model, &weights)?;
        let mut parts = Vec::with_capacity(halves.len());
        for ((layer, target), pair) in halves {
            let module = module_name(layer, target);
            let [Some(a), Some(b)] = pair else {
                return Err(Error::format(weights, format!("{module}: expected lora_A and lora_B, found one of them")));
            };
            let (rank, scale) = options.rank_and_scale(&module)?;
            let (n, k) = shape_of(model, target);
            let (a, b) = (values(a, &[rank, k], &file.map)?, values(b, &[n, rank], &file.map)?);
            parts.push(AdapterPart { layer, target: TARGETS[target], rank, scale, a, b });
        }
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(&map).unwrap_or_default());
        hash.update(&file.map[..]);
        Ok(PeftAdapter { parts, id: hex(&hash.finalize()), file: weights, base })
    }

    /// The parts, by layer and then in the order of [`TARGETS`].
    pub fn parts(&self) -> &[AdapterPart] {
        &self.parts
    }

    /// The largest rank of any part.
    pub fn rank(&self) -> usize {
        self.parts.iter().map(|part| part.rank).max().unwrap_or(0)
    }

    /// [`Checkpoint::base_id`](super::Checkpoint::base_id) of the model it was made for, where it says so: adapters written here do,
    /// those of PEFT do not.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Refuses an adapter that says it was made for other weights than those of identity `model`.
    ///
    /// # Errors
    /// [`Error::OtherBase`].
    pub fn check_base(&self, model: &str) -> Result<()> {
        match self.base() {
            Some(base) if base != model => {
                Err(Error::OtherBase { adapter: self.file.clone(), want: base.into(), got: model.into() })
            }
            _ => Ok(()),
        }
    }

    /// SHA-256, in hex, of the options and the weight file.
    pub fn id(&self) -> &str {
        &self.id
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The options that matter to the arithmetic.
struct Options {
    rank: usize,
    alpha: f64,
    rank_stabilised: bool,
    ranks: Vec<(String, f64)>,
    alphas: Vec<(String, f64)>,
    /// Modules that must be there; `None` where a pattern or a choice of layers leaves that open.
    targets: Option<Vec<String>>,
}

impl Options {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        let refuse = |what: String| Err(Error::unsupported(format!("{}: {what}", fields.file)));
        match fields.str_or_none("peft_type")? {
            Some("LORA") => {}
            other => return refuse(format!("peft_type {}; expected LORA", other.unwrap_or("missing"))),
        }
        if let Some(bias) = fields.str_or_none("bias")?.filter(|bias| *bias != "none") {
            return refuse(format!("bias {bias}; expected none"));
        }
        // Other initialisations change the base weights that the adapter was trained against.
        match fields.get("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(kind)) if ["gaussian", "eva", "orthogonal"].contains(&kind.as_str()) => {}
            Some(other) => return refuse(format!("init_lora_weights {other}")),
        }
        // Whatever option we do not know must be off: DoRA, saved modules, replicated layers and those not invented yet.
        for (key, value) in fields.map {
            let off = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !off && !IGNORED.contains(&key.as_str()) && !READ.contains(&key.as_str()) {
                return refuse(format!("adapter option {key}"));
            }
        }
        let Some(alpha) = fields.float_or_none("lora_alpha")? else { return fields.fail("lora_alpha", "a number") };
        let rank = fields.usize("r")?;
        let options = Options {
            rank,
            alpha,
            rank_stabilised: fields.bool_or("use_rslora", false)?,
            ranks: pattern(fields, "rank_pattern")?,
            alphas: pattern(fields, "alpha_pattern")?,
            targets: targets(fields)?,
        };
        let whole = options.ranks.iter().all(|(_, r)| r.fract() == 0.0 && *r >= 1.0 && *r <= MAX_RANK as f64);
        if rank == 0 || rank > MAX_RANK || !whole {
            return Err(Error::format(fields.file, format!("r: expected whole numbers from 1 to {MAX_RANK}")));
        }
        if !alpha.is_finite() || options.alphas.iter().any(|(_, alpha)| !alpha.is_finite()) {
            return Err(Error::format(fields.file, "lora_alpha: expected a finite number"));
        }
        Ok(options)
    }

    fn rank_and_scale(&self, module: &str) -> Result<(usize, f32)> {
        let find = |list: &[(String, f64)]| {
            let found: Vec<f64> = list.iter().filter(|(key, _)| names(key, module)).map(|(_, value)| *value).collect();
            match found[..] {
                // PEFT takes the first in the order of the file, which JSON does not promise to keep.
                [first, ..] if found.iter().any(|value| *value != first) => {
                    Err(Error::unsupported(format!("adapter patterns that give {module} several ranks or alphas")))
                }
                [first, ..] => Ok(Some(first)),
                [] => Ok(None),
            }
        };
        let rank = find(&self.ranks)?.map_or(self.rank, |rank| rank as usize);
        let alpha = find(&self.alphas)?.unwrap_or(self.alpha);
        let divisor = if self.rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
        Ok((rank, (alpha / divisor) as f32))
    }

    /// Every module of the model that `target_modules` names must be stored, and no other.
    fn check_targets(&self, stored: &[(usize, usize)], model: &ModelConfig, file: &str) -> Result<()> {
        if stored.is_empty() {
            return Err(Error::format(file, "expected LoRA tensors, found none"));
        }
        let Some(targets) = &self.targets else { return Ok(()) };
        let all = (0..model.layers).flat_map(|layer| (0..TARGETS.len()).map(move |target| (layer, target)));
        for (layer, target) in all {
            let module = module_name(layer, target);
            let listed = targets.iter().any(|key| names(key, &module));
            if listed != stored.contains(&(layer, target)) {
                let (want, found) = if listed { ("an", "none") } else { ("no", "one") };
                let why = format!("{module}: expected {want} update, as target_modules says, found {found}");
                return Err(Error::format(file, why));
            }
        }
        Ok(())
    }
}

/// Whether `key` names `module`: the whole dotted name, or the end of it.
fn names(key: &str, module: &str) -> bool {
    module.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `rank_pattern` or `alpha_pattern`. PEFT reads the keys as regular expressions; plain names are all that is read here.
fn pattern(fields: &Fields<'_>, key: &str) -> Result<Vec<(String, f64)>> {
    let Some(value) = fields.get(key) else { return Ok(Vec::new()) };
    let Value::Object(map) = value else { return fields.fail(key, "an object") };
    map.iter()
        .map(|(name, value)| {
            if !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.') {
                return Err(Error::unsupported(format!("{}: {key} with the regular expression {name}", fields.file)));
            }
            match value.as_f64() {
                Some(value) => Ok((name.clone(), value)),
                None => fields.fail(key, "numbers"),
            }
        })
        .collect()
}

fn targets(fields: &Fields<'_>) -> Result<Option<Vec<String>>> {
    let open = ["layers_to_transform", "layers_pattern", "exclude_modules"].iter().any(|key| fields.get(key).is_some());
    let list = match fields.get("target_modules") {
        Some(Value::String(all)) if all == "all-linear" => Some(TARGETS.map(String::from).to_vec()),
        // A regular expression, or the default of the architecture.
        Some(Value::String(_)) | None => None,
        Some(Value::Array(list)) => match list.iter().map(|x| x.as_str().map(String::from)).collect() {
            Some(list) => Some(list),
            None => return fields.fail("target_modules", "a list of names"),
        },
        Some(_) => return fields.fail("target_modules", "a list of names or a text"),
    };
    Ok(list.filter(|_| !open))
}

/// Layer, index into [`TARGETS`] and 0 for `A` or 1 for `B` of a stored name.
fn place(name: &str) -> Option<(usize, usize, usize)> {
    let rest = name.strip_prefix("base_model.model.model.layers.")?;
    let (layer, rest) = rest.split_once('.')?;
    let number: usize = layer.parse().ok().filter(|n: &usize| n.to_string() == layer)?;
    let (module, half) = match (rest.strip_suffix(".lora_A.weight"), rest.strip_suffix(".lora_B.weight")) {
        (Some(module), _) => (module, 0),
        (None, Some(module)) => (module, 1),
        (None, None) => return None,
    };
    let target = (0..TARGETS.len()).find(|target| module_path(*target) == module)?;
    Some((number, target, half))
}

fn module_path(target: usize) -> String {
    format!("{}.{}", if target < 4 { "self_attn" } else { "mlp" }, TARGETS[target])
}

pub(super) fn module_name(layer: usize, target: usize) -> String {
    format!("model.layers.{layer}.{}", module_path(target))
}

/// `(N, K)` of a projection.
fn shape_of(model: &ModelConfig, target: usize) -> (usize, usize) {
    let (c, f) = (model.hidden_size, model.intermediate_size);
    let (q, kv) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
    [(q, c), (kv, c), (kv, c), (c, q), (f, c), (f, c), (c, f)][target]
}

fn values(tensor: &TensorInfo, shape: &[usize], bytes: &[u8]) -> Result<Vec<bf16>> {
    if tensor.shape != shape {
        return Err(Error::shape(format!("adapter tensor {}", tensor.name), shape, &tensor.shape));
    }
    let Ok(dtype) = tensor.dtype else {
        return Err(Error::unsupported(format!("adapter tensor {} of type {:?}", tensor.name, tensor.dtype)));
    };
    let mut out = crate::reserve::filled(bf16::ZERO, shape.iter().product())?;
    to_bf16(dtype, &bytes[tensor.offset..tensor.offset + tensor.bytes], &mut out);
    // Rows of a batch that have other adapters are multiplied by zeros here, which NaN and infinity survive.
    if !out.iter().all(|x| x.is_finite()) {
        let name = format!("adapter tensor {}", tensor.name);
        return Err(Error::format(name, "expected numbers that bf16 can hold, found NaN or infinity"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Checkpoint;
    use std::path::PathBuf;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
    }

    /// Scales, ranks and modules are those that peft computed when it wrote the adapters.
    #[test]
    fn adapters_written_by_peft_are_read_as_peft_reads_them() {
        let checkpoint = Checkpoint::open(&golden("mistral_window/model")).unwrap();
        let case: Value = serde_json::from_slice(&std::fs::read(golden("mistral_window/case.json")).unwrap()).unwrap();
        let facts = case["adapters"].as_object().unwrap();
        assert_eq!(facts.len(), 3);
        let mut ranks = Vec::new();
        for (name, fact) in facts {
            let adapter = PeftAdapter::open(&golden("mistral_window").join(name), checkpoint.config()).unwrap();
            let scales = fact["scales"].as_object().unwrap();
            assert_eq!(adapter.parts().len(), scales.len(), "{name}");
            for part in adapter.parts() {
                let target = TARGETS.iter().position(|target| *target == part.target).unwrap();
                let want = scales[&module_name(part.layer, target)].as_f64().unwrap();
                assert_eq!(part.scale, want as f32, "{name} {} {}", part.layer, part.target);
                let (n, k) = shape_of(checkpoint.config(), target);
                assert_eq!((part.a.len(), part.b.len()), (part.rank * k, n * part.rank));
                assert!(part.b.iter().any(|x| x.to_f32() != 0.0));
            }
            ranks.push((name.as_str(), adapter.rank(), adapter.parts().iter().map(|p| p.rank).min().unwrap()));
        }
        assert_eq!(ranks, [("all_linear_r4", 4, 4), ("patterns", 4, 2), ("rslora_qv_r8", 8, 8)]);
    }

    /// Opens `all_linear_r4` after an edit of its options.
    fn edited(edit: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<PeftAdapter> {
        let from = golden("mistral_window/all_linear_r4");
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(from.join(WEIGHTS), folder.path().join(WEIGHTS)).unwrap();
        let mut map = read_object(&from.join(CONFIG), MAX_CONFIG).unwrap();
        edit(&mut map);
        std::fs::write(folder.path().join(CONFIG), serde_json::to_vec(&map).unwrap()).unwrap();
        PeftAdapter::open(folder.path(), &ModelConfig::read_json(&golden("mistral_window/model/config.json")).unwrap())
    }

    #[test]
    fn options_that_compute_something_else_are_refused_by_name() {
        for (key, value) in [
            ("use_dora", Value::Bool(true)),
            ("modules_to_save", serde_json::json!(["lm_head"])),
            ("bias", "all".into()),
            ("lora_bias", Value::Bool(true)),
            ("fan_in_fan_out", Value::Bool(true)),
            ("layer_replication", serde_json::json!([[0, 1]])),
            ("init_lora_weights", "pissa".into()),
            ("peft_type", "IA3".into()),
            ("an_option_of_the_future", 1.into()),
            ("rank_pattern", serde_json::json!({"^q_proj": 2})),
        ] {
            let error = edited(|map| drop(map.insert(key.into(), value))).err().expect(key);
            assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn weights_must_be_what_the_options_say() {
        assert!(edited(|_| ()).is_ok());
        for (target_modules, word) in [
            (serde_json::json!(["q_proj"]), "expected no update"),
            (serde_json::json!("all-linear"), ""),
            (serde_json::json!(".*_proj"), ""),
            (serde_json::json!(TARGETS), ""),
        ] {
            let result = edited(|map| drop(map.insert("target_modules".into(), target_modules)));
            match result.err() {
                None => assert_eq!(word, ""),
                Some(error) => assert!(!word.is_empty() && error.to_string().contains(word), "{error}"),
            }
        }
        let error = edited(|map| drop(map.insert("r".into(), 5.into()))).err().unwrap();
        assert!(matches!(&error, Error::Shape { op, .. } if op.contains("q_proj.lora_A")), "{error}");
        for bad in [0.into(), Value::from(-4), "4".into(), 1e300.into(), Value::Null] {
            assert!(edited(|map| drop(map.insert("r".into(), bad))).is_err());
        }
    }

    #[test]
    fn a_tensor_that_is_not_finite_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (from, path) = (golden("mistral_window/all_linear_r4"), folder.path().join(WEIGHTS));
        std::fs::copy(from.join(CONFIG), folder.path().join(CONFIG)).unwrap();
        let model = ModelConfig::read_json(&golden("mistral_window/model/config.json")).unwrap();
        let file = open_file(&from.join(WEIGHTS), 0).unwrap();
        for tensor in [file.tensors.first().unwrap(), file.tensors.last().unwrap()] {
            for bad in [bf16::NAN, bf16::INFINITY, bf16::NEG_INFINITY] {
                let mut bytes = file.map.to_vec();
                bytes[tensor.offset + tensor.bytes - 2..][..2].copy_from_slice(&bad.to_le_bytes());
                std::fs::write(&path, bytes).unwrap();
                let error = PeftAdapter::open(folder.path(), &model).err().unwrap();
                assert!(matches!(&error, Error::Format { file, .. } if file.ends_with(&tensor.name)), "{bad}: {error}");
            }
        }
    }

    #[test]
    fn patterns_that_contradict_each_other_are_refused() {
        let with = |patterns| edited(|map| drop(map.insert("alpha_pattern".into(), patterns)));
        assert!(with(serde_json::json!({"q_proj": 2, "layers.0.self_attn.q_proj": 2})).is_ok());
        let error = with(serde_json::json!({"q_proj": 2, "layers.0.self_attn.q_proj": 3})).err().unwrap();
        assert!(error.to_string().contains("model.layers.0.self_attn.q_proj"), "{error}");
    }

    #[test]
    fn an_adapter_of_another_model_is_refused() {
        let mut model = ModelConfig::read_json(&golden("mistral_window/model/config.json")).unwrap();
        let folder = golden("mistral_window/patterns");
        model.layers = 1;
        assert!(PeftAdapter::open(&folder, &model).err().unwrap().to_string().contains("the model has 1 layers"));
        model.layers = 3;
        assert!(PeftAdapter::open(&folder, &model).err().unwrap().to_string().contains("model.layers.2"));
        (model.layers, model.kv_heads) = (2, 4);
        assert_eq!(PeftAdapter::open(&folder, &model).err().unwrap().code(), 1);
    }
}

//! `config.json` of a HF model folder: read strictly, written back.

use super::{Architecture, ModelConfig};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Larger JSON files than this are no configuration.
const MAX_JSON: u64 = 16 << 20;

/// Reads a small JSON object.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] where it is too large, no JSON or no object.
pub(super) fn read_object(path: &Path, max: u64) -> Result<Map<String, Value>> {
    let io = |e| Error::io(path, e);
    let size = std::fs::metadata(path).map_err(io)?.len();
    let name = path.display().to_string();
    if size > max {
        return Err(Error::format(name, format!("expected at most {max} bytes of JSON, found {size}")));
    }
    match serde_json::from_slice(&std::fs::read(path).map_err(io)?) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::format(name, "expected a JSON object")),
        Err(e) => Err(Error::format(name, format!("expected JSON: {e}"))),
    }
}

/// A JSON object with the file's name for errors.
pub(super) struct Fields<'a> {
    pub file: &'a str,
    pub map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The value, where there is one that is not null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub fn fail<T>(&self, key: &str, want: &str) -> Result<T> {
        let found = match self.map.get(key) {
            None => "nothing".to_string(),
            Some(Value::Array(_)) => "a list".to_string(),
            Some(Value::Object(_)) => "an object".to_string(),
            Some(value) => value.to_string().chars().take(80).collect(),
        };
        Err(Error::format(self.file, format!("{key}: expected {want}, found {found}")))
    }

    pub fn usize_or_none(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => self.fail(key, "a whole number"),
        }
    }

    pub fn usize(&self, key: &str) -> Result<usize> {
        match self.usize_or_none(key)? {
            Some(n) => Ok(n),
            None => self.fail(key, "a whole number"),
        }
    }

    pub fn float_or_none(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map_or_else(|| self.fail(key, "a number"), |x| Ok(Some(x)))
    }

    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().map_or_else(|| self.fail(key, "true or false"), Ok)
    }

    pub fn str_or_none(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map_or_else(|| self.fail(key, "a string"), |s| Ok(Some(s)))
    }
}

impl ModelConfig {
    /// Reads `config.json`. Where a key is absent, the default is the one that `transformers` documents for the architecture;
    /// keys whose defaults differ between the architectures must be there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming what another architecture or option would need; [`Error::Format`] for values that make
    /// no model; [`Error::Io`].
    pub fn read_json(path: &Path) -> Result<Self> {
        let map = read_object(path, MAX_JSON)?;
        let file = path.display().to_string();
        let fields = Fields { file: &file, map: &map };
        let architecture = architecture(&fields)?;
        refuse_variants(&fields)?;
        let (hidden_size, heads) = (fields.usize("hidden_size")?, fields.usize("num_attention_heads")?);
        let kv_heads = match (fields.usize_or_none("num_key_value_heads")?, architecture) {
            (Some(n), _) => n,
            (None, Architecture::Llama) => heads,
            (None, Architecture::Mistral) => return fields.fail("num_key_value_heads", "a whole number"),
        };
        let head_dim = match fields.usize_or_none("head_dim")? {
            Some(n) => n,
            None if heads != 0 && hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(Error::format(
                    file,
                    format!("hidden size {hidden_size} is not a multiple of {heads} heads"),
                ));
            }
        };
        let sliding_window = match architecture {
            Architecture::Mistral if !map.contains_key("sliding_window") => {
                return fields.fail("sliding_window", "a whole number or null");
            }
            Architecture::Mistral => fields.usize_or_none("sliding_window")?,
            Architecture::Llama if fields.get("sliding_window").is_some() => {
                return Err(Error::unsupported(format!("{file}: sliding_window in LlamaForCausalLM")));
            }
            Architecture::Llama => None,
        };
        let Some(rms_norm_eps) = fields.float_or_none("rms_norm_eps")? else {
            return fields.fail("rms_norm_eps", "a number");
        };
        let config = ModelConfig {
            architecture,
            hidden_size,
            intermediate_size: fields.usize("intermediate_size")?,
            layers: fields.usize("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            vocab_size: fields.usize("vocab_size")?,
            rope_theta: rope_theta(&fields)?,
            rms_norm_eps: rms_norm_eps as f32,
            sliding_window,
            max_positions: fields.usize("max_position_embeddings")?,
            tied_head: fields.bool_or("tie_word_embeddings", false)?,
        };
        config.validate(&file)?;
        Ok(config)
    }

    /// The `config.json` of this model, as `transformers` reads it.
    pub fn to_json(&self) -> Value {
        let (architecture, model_type) = match self.architecture {
            Architecture::Mistral => ("MistralForCausalLM", "mistral"),
            Architecture::Llama => ("LlamaForCausalLM", "llama"),
        };
        let mut json = json!({
            "architectures": [architecture],
            "model_type": model_type,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "rope_theta": self.rope_theta,
            // The shortest decimal of the f32, not its f64 expansion.
            "rms_norm_eps": self.rms_norm_eps.to_string().parse::<f64>().unwrap_or(f64::from(self.rms_norm_eps)),
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied_head,
            "hidden_act": "silu",
            "torch_dtype": "bfloat16",
        });
        if self.architecture == Architecture::Mistral {
            json["sliding_window"] = json!(self.sliding_window);
        }
        json
    }
}

fn architecture(fields: &Fields<'_>) -> Result<Architecture> {
    let named = match fields.get("architectures") {
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
        Some(_) => return fields.fail("architectures", "a list of one name"),
        None => fields.str_or_none("model_type")?,
    };
    match named {
        Some("MistralForCausalLM" | "mistral") => Ok(Architecture::Mistral),
        Some("LlamaForCausalLM" | "llama") => Ok(Architecture::Llama),
        Some(other) => Err(Error::unsupported(format!(
            "{}: architecture {other}; expected MistralForCausalLM or LlamaForCausalLM",
            fields.file
        ))),
        None => fields.fail("architectures", "a list of one name"),
    }
}

/// Options of these architectures that change the arithmetic in a way this engine does not compute.
fn refuse_variants(fields: &Fields<'_>) -> Result<()> {
    let refuse = |what: String| Err(Error::unsupported(format!("{}: {what}", fields.file)));
    for key in ["attention_bias", "mlp_bias"] {
        if fields.bool_or(key, false)? {
            return refuse(format!("{key} true"));
        }
    }
    match fields.str_or_none("hidden_act")? {
        None | Some("silu") => {}
        Some(other) => return refuse(format!("hidden_act {other}; expected silu")),
    }
    if fields.get("quantization_config").is_some() {
        return refuse("quantization_config (use bf16, f16 or f32 weights, or a GGUF)".into());
    }
    if fields.float_or_none("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        return refuse("partial_rotary_factor other than 1".into());
    }
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(value) = fields.get(key) else { continue };
        let Value::Object(map) = value else { return fields.fail(key, "an object or null") };
        let scaling = Fields { file: fields.file, map };
        let kind = match scaling.str_or_none("rope_type")? {
            Some(kind) => Some(kind),
            None => scaling.str_or_none("type")?,
        };
        match kind {
            Some("default") => {}
            // Newer files keep theta alone in `rope_parameters`; an older `rope_scaling` is never without a type.
            None if key == "rope_parameters" => {}
            other => return refuse(format!("{key} of type {}", other.unwrap_or("unknown"))),
        }
        if scaling.float_or_none("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
            return refuse("partial_rotary_factor other than 1".into());
        }
    }
    Ok(())
}

/// `rope_theta` at the top, else in `rope_parameters`, else 10000, the default of both architectures.
fn rope_theta(fields: &Fields<'_>) -> Result<f64> {
    let inner = match fields.get("rope_parameters") {
        Some(Value::Object(map)) => Fields { file: fields.file, map }.float_or_none("rope_theta")?,
        _ => None,
    };
    match (fields.float_or_none("rope_theta")?, inner) {
        (Some(top), Some(inner)) if top != inner => Err(Error::format(
            fields.file,
            format!("rope_theta: found {top} and, in rope_parameters, {inner}; expected one value"),
        )),
        (Some(theta), _) | (None, Some(theta)) => Ok(theta),
        (None, None) => Ok(10_000.0),
    }
}

//! Writing a PEFT LoRA folder that transformers and peft load unchanged.

use super::peft::{AdapterPart, BASE, TARGETS, module_name};
use super::{ModelConfig, write};
use crate::{Error, Result};
use half::bf16;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Writes `parts`, all of one rank and scale, as a new folder. `alpha` is what PEFT divides by the rank, or by its root
/// where `rank_stabilised`; `base` is the name of the base model, for whoever loads the adapter by it, `id` its
/// [`Checkpoint::base_id`](super::Checkpoint::base_id), by which another model is refused. The same arguments give the same bytes.
///
/// # Errors
/// [`Error::Invalid`] where the folder exists or parts differ; [`Error::Io`].
pub fn write_adapter(
    folder: &Path,
    config: &ModelConfig,
    parts: &[AdapterPart],
    alpha: f64,
    rank_stabilised: bool,
    base: &str,
    id: &str,
) -> Result<()> {
    let rank = parts.first().map_or(0, |part| part.rank);
    if rank == 0 || parts.iter().any(|part| part.rank != rank) {
        return Err(Error::invalid("adapter: expected parts of one rank"));
    }
    let targets: Vec<&str> =
        TARGETS.into_iter().filter(|target| parts.iter().any(|part| part.target == *target)).collect();
    let mut tensors = BTreeMap::new();
    for part in parts {
        let number = TARGETS.iter().position(|target| *target == part.target).unwrap_or(0);
        let module = format!("base_model.model.{}", module_name(part.layer, number));
        for (half, values) in [("lora_A", &part.a), ("lora_B", &part.b)] {
            let (rows, cols) = match half {
                "lora_A" => (rank, values.len() / rank),
                _ => (values.len() / rank, rank),
            };
            tensors.insert(format!("{module}.{half}.weight"), ([rows, cols], &values[..]));
        }
    }
    if parts.iter().any(|part| part.layer >= config.layers) {
        return Err(Error::invalid(format!("adapter: expected parts of {} layers", config.layers)));
    }
    let options = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "use_rslora": rank_stabilised,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
    });
    let bytes = safetensors(&tensors, json!({"format": "pt", BASE: id}));
    write::new_folder(folder, |folder| {
        let path = folder.join("adapter_model.safetensors");
        let file = std::fs::write(&path, &bytes).and_then(|()| std::fs::File::open(&path)?.sync_all());
        file.map_err(|e| Error::io(&path, e))?;
        write::write_json(&folder.join("adapter_config.json"), &options)
    })
}

/// A safetensors file of matrices in bf16.
fn safetensors(tensors: &BTreeMap<String, ([usize; 2], &[bf16])>, metadata: Value) -> Vec<u8> {
    let (mut table, mut at) = (Map::new(), 0);
    table.insert("__metadata__".into(), metadata);
    for (name, (shape, values)) in tensors {
        let end = at + size_of_val(*values);
        table.insert(name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut header = Value::Object(table).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    tensors.values().for_each(|(_, values)| bytes.extend_from_slice(bytemuck::cast_slice(values)));
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, PeftAdapter};
    use super::*;

    #[test]
    fn an_adapter_written_here_reads_as_it_was() {
        let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
        let checkpoint = Checkpoint::open(&golden("mistral_window/model")).unwrap();
        for (name, alpha, rank_stabilised) in [("all_linear_r4", 8.0, false), ("rslora_qv_r8", 4.0, true)] {
            let from = PeftAdapter::open(&golden("mistral_window").join(name), checkpoint.config()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("adapter");
            let write =
                || write_adapter(&path, checkpoint.config(), from.parts(), alpha, rank_stabilised, "base", "id");
            write().unwrap();
            let to = PeftAdapter::open(&path, checkpoint.config()).unwrap();
            assert_eq!(from.parts().len(), to.parts().len());
            for (a, b) in from.parts().iter().zip(to.parts()) {
                assert_eq!((a.layer, a.target, a.rank, a.scale), (b.layer, b.target, b.rank, b.scale));
                assert!(a.a == b.a && a.b == b.b);
            }
            assert!(to.base() == Some("id") && from.base().is_none());
            assert!(to.check_base("id").is_ok() && from.check_base("id").is_ok(), "peft names no identity");
            let error = to.check_base("another").unwrap_err();
            assert!(
                matches!(&error, Error::OtherBase { want, got, .. } if want == "id" && got == "another"),
                "{error}"
            );
            assert!(error.to_string().contains("adapter_model.safetensors"), "{error}");
            assert!(write().is_err(), "a folder that exists is not overwritten");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished stays");
        }
    }
}

//! A model: weights, tokenizer and adapters, shared by sessions.

use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::log::BMN_LOG_INFO;
use crate::memory::{self, Sized32};
use crate::result::{Outcome, bmn_result};
use crate::runtime::{Runtime, bmn_runtime};
use crate::status::*;
use engine::device::cpu::Cpu;
use engine::device::{MemoryPlan, WeightStorage};
use engine::task::{Engine, EngineOptions, Template};
use engine::weights::Checkpoint;
use std::ffi::{CString, c_char};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// The template that the adapter's or model's `bmn.json` names, else the Zephyr-style one of BioMistral-NLU.
pub const BMN_TEMPLATE_DEFAULT: u32 = 0;
/// The Zephyr-style template of BioMistral-NLU.
pub const BMN_TEMPLATE_ZEPHYR: u32 = 1;
/// The chat template that comes with the model.
pub const BMN_TEMPLATE_MODEL: u32 = 2;

/// Settings of a model; `bmn_model_options_init` sets the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_model_options {
    /// `sizeof(bmn_model_options)`.
    pub struct_size: u32,
    /// One of `BMN_TEMPLATE_*`, for every run that names none.
    pub chat_template: u32,
    /// Longest context in tokens; 0: the model's.
    pub context: u64,
    /// Folder of a LoRA adapter to add into the weights while loading; NULL: none.
    pub merge_adapter: *const c_char,
    /// Identity that the weights must have, as `bmn_model_info_json` gives it; NULL: not checked.
    pub expected_weights: *const c_char,
}

// SAFETY: plain data; every bit pattern of its fields is valid. First field is the size.
unsafe impl Sized32 for bmn_model_options {
    fn fresh() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            chat_template: BMN_TEMPLATE_DEFAULT,
            context: 0,
            merge_adapter: std::ptr::null(),
            expected_weights: std::ptr::null(),
        }
    }
}

/// An engine with the runtime it was opened in.
pub(crate) struct Model {
    pub engine: Arc<Engine>,
    pub runtime: Arc<Runtime>,
    info: CString,
}

/// Weights, tokenizer and adapters. Shared by any number of threads; adapters may be changed while sessions run.
pub struct bmn_model {
    tagged: Tagged<Arc<Model>>,
}
handle_type!(bmn_model, Arc<Model>, 0x626d_6e6d_6f64_656c);

/// The template a number stands for.
pub(crate) fn template(number: u32, what: &str) -> Result<Option<Template>, Failure> {
    match number {
        BMN_TEMPLATE_DEFAULT => Ok(None),
        BMN_TEMPLATE_ZEPHYR => Ok(Some(Template::Zephyr)),
        BMN_TEMPLATE_MODEL => Ok(Some(Template::Model)),
        other => Err(Failure::invalid(format!("{what}: expected one of BMN_TEMPLATE_*, found {other}"))),
    }
}

/// Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_model_options)` of the caller's header. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or points to `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_model_options_init(options: *mut bmn_model_options, struct_size: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::init(options, struct_size) }
}

/// Opens a model: a `.gguf` file, or a folder with `config.json`, safetensors and tokenizer. `options` may be NULL.
///
/// Weights are memory-mapped: several models of one file, in any number of processes, share their pages.
/// On success `*out` is a model to free with `bmn_model_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`
/// (a missing or extra tensor by name, or an adapter for another model), `BMN_E_INVALID_ARGUMENT` (a misshaped tensor by name, a
/// context longer than the model's), `BMN_E_UNSUPPORTED`, `BMN_E_INTEGRITY`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_NO_DEVICE`,
/// `BMN_E_DEVICE`. Threads: any. Since 0.1.
///
/// # Safety
/// `runtime` is live; `path` is NUL-terminated; `options` is NULL or as large as it says; `out` points to a place; `err` to a
/// place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_model_open(
    runtime: *const bmn_runtime,
    path: *const c_char,
    options: *const bmn_model_options,
    out: *mut *mut bmn_model,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let runtime = memory::handle(runtime, "runtime")?;
            let options: bmn_model_options = memory::options(options, "options")?;
            let expected = optional_string(options.expected_weights, "options.expected_weights")?;
            let open = read_options(runtime, path, options)?;
            memory::put(out, bmn_model::give(Arc::new(Model::open(runtime, &open, expected)?)));
            Ok(())
        })
    }
}

/// # Safety
/// `ptr` is NULL or NUL-terminated.
unsafe fn optional_string<'a>(ptr: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if ptr.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { memory::string(ptr, what) }.map(Some)
}

/// What a model needs, with the runtime's limit as what is free.
fn plan(runtime: &Runtime, options: &EngineOptions) -> Result<MemoryPlan, Failure> {
    let checkpoint = Checkpoint::open(&options.model)?;
    let config = checkpoint.config();
    let context = options.context.unwrap_or(config.max_positions).min(config.max_positions);
    let limit = runtime.memory_limit.unwrap_or(u64::MAX);
    Ok(MemoryPlan::new(
        config,
        context,
        WeightStorage::Bf16,
        options.device.to_string(),
        (limit, limit),
        &Cpu::GRANULARITY,
    ))
}

/// What a model would need, as a result whose JSON has `weights`, `cache` (one sequence of `context` tokens), `activations` and
/// `need`, in bytes. Only the files' headers are read.
///
/// On success `*out` is a result to free with `bmn_result_free`. Errors as for `bmn_model_open`. Threads: any. Since 0.1.
///
/// # Safety
/// As for `bmn_model_open`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_model_plan(
    runtime: *const bmn_runtime,
    path: *const c_char,
    options: *const bmn_model_options,
    out: *mut *mut bmn_result,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let runtime = memory::handle(runtime, "runtime")?;
            let open = read_options(runtime, path, memory::options(options, "options")?)?;
            let plan = plan(runtime, &open)?;
            let json = serde_json::json!({
                "device": plan.device,
                "context": plan.context,
                "weights": plan.weights,
                "cache": plan.cache,
                "activations": plan.activations,
                "need": plan.need(),
            });
            memory::put(out, bmn_result::give(Outcome::of_json(&json)));
            Ok(())
        })
    }
}

/// # Safety
/// `path` is NUL-terminated; so is the adapter of `options` unless NULL.
unsafe fn read_options(
    runtime: &Runtime,
    path: *const c_char,
    options: bmn_model_options,
) -> Result<EngineOptions, Failure> {
    // SAFETY: the caller's promise.
    let (path, merge) =
        unsafe { (memory::string(path, "path")?, optional_string(options.merge_adapter, "options.merge_adapter")?) };
    Ok(EngineOptions {
        model: PathBuf::from(path),
        merge: merge.map(PathBuf::from),
        device: runtime.device,
        threads: runtime.threads,
        template: template(options.chat_template, "options.chat_template")?,
        context: match options.context {
            0 => None,
            context => Some(usize::try_from(context).unwrap_or(usize::MAX)),
        },
        ..EngineOptions::default()
    })
}

impl Model {
    fn open(runtime: &Arc<Runtime>, options: &EngineOptions, expected: Option<&str>) -> Result<Self, Failure> {
        let start = Instant::now();
        if runtime.memory_limit.is_some() {
            plan(runtime, options)?.check()?;
        }
        let engine = Arc::new(Engine::open(options)?);
        if let Some(expected) = expected.filter(|expected| *expected != engine.weights_id()) {
            let found = engine.weights_id();
            return Err(Failure::new(BMN_E_INTEGRITY, format!("weights: expected {expected:?}, found {found:?}")));
        }
        let config = engine.model().config();
        let info = serde_json::json!({
            "architecture": format!("{:?}", config.architecture),
            "weights": engine.weights_id(),
            "tokenizer": engine.tokenizer().hash(),
            "fingerprint": engine.model().fingerprint(),
            "context": engine.context(),
            "vocab_size": config.vocab_size,
            "layers": config.layers,
            "hidden_size": config.hidden_size,
        });
        let info = CString::new(info.to_string()).unwrap_or_default();
        runtime.log.tell(BMN_LOG_INFO, "model", || {
            format!("opened weights {} in {} ms", engine.weights_id(), start.elapsed().as_millis())
        });
        Ok(Self { engine, runtime: Arc::clone(runtime), info })
    }
}

/// What the model is, as a JSON object: architecture, identities, fingerprint, sizes, context, memory plan.
///
/// Returns a string that lives as long as the model, NULL for NULL. Threads: any. Since 0.1.
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_model_info_json(model: *const bmn_model) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(model, "model") }.map_or(std::ptr::null(), |model| model.info.as_ptr())
}

/// Frees a model; its sessions and adapters stay usable and keep it in memory. NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `model` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_model_free(model: *mut bmn_model) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(model) }
}

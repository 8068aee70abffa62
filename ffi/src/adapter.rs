//! LoRA adapters, swapped while requests run.

use crate::error::bmn_error;
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::log::BMN_LOG_INFO;
use crate::memory;
use crate::model::bmn_model;
use crate::status::bmn_status;
use engine::task::ModelSettings;
use engine::weights::PeftAdapter;
use std::ffi::c_char;
use std::path::Path;

/// A LoRA adapter read from its folder, checked against a model; immutable.
pub struct bmn_adapter {
    tagged: Tagged<Loaded>,
}
handle_type!(bmn_adapter, Loaded, 0x626d_6e61_6461_7074);

pub(crate) struct Loaded {
    adapter: PeftAdapter,
    settings: ModelSettings,
}

/// Reads a PEFT adapter folder and checks it against `model`. It answers nothing until `bmn_model_set_adapter` names it.
///
/// On success `*out` is an adapter to free with `bmn_adapter_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`,
/// `BMN_E_INVALID_ARGUMENT` (a tensor that does not fit the model's shape), `BMN_E_UNSUPPORTED`. Whether it was made for these
/// weights is asked when it is set. Threads: any. Since 0.1.
///
/// # Safety
/// `model` is live; `path` is NUL-terminated; `out` points to a place; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_adapter_open(
    model: *const bmn_model,
    path: *const c_char,
    out: *mut *mut bmn_adapter,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let model = memory::handle(model, "model")?;
            let path = Path::new(memory::string(path, "path")?);
            let adapter = PeftAdapter::open(path, model.engine.model().config())?;
            let settings = ModelSettings::open(path)?;
            memory::put(out, bmn_adapter::give(Loaded { adapter, settings }));
            Ok(())
        })
    }
}

/// Makes `adapter` the one that runs choose by `name`. Where the name was taken, runs under way keep the adapter they began
/// with and later ones get this one; every result's provenance names the adapter that gave it.
///
/// `*generation` (may be NULL) gets a number higher than that of any change before. The adapter handle may be freed
/// afterwards. Errors: `BMN_E_MODEL_FORMAT` (made for another base model, or a model file that has changed its size),
/// `BMN_E_UNSUPPORTED` (tuned with other prompts), `BMN_E_IO`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_DEVICE`; the name then stands for
/// what it stood for.
/// Threads: any, while sessions run. Since 0.1.
///
/// # Safety
/// `model` and `adapter` are live; `name` is NUL-terminated; `generation` points to a place or is NULL; so does `err`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_model_set_adapter(
    model: *const bmn_model,
    name: *const c_char,
    adapter: *const bmn_adapter,
    generation: *mut u64,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            let model = memory::handle(model, "model")?;
            let name = memory::string(name, "name")?;
            let loaded = memory::handle(adapter, "adapter")?;
            if !generation.is_null() {
                memory::place(generation, "generation")?;
            }
            let number = model.engine.set_adapter(name, &loaded.adapter, loaded.settings.clone())?;
            if !generation.is_null() {
                memory::put(generation, number);
            }
            model.runtime.log.tell(BMN_LOG_INFO, "adapter", || {
                format!("{name:?} is {} since generation {number}", loaded.adapter.id())
            });
            Ok(())
        })
    }
}

/// Takes a name away; runs under way with its adapter finish. A name that is not there is `BMN_E_INVALID_ARGUMENT`.
///
/// Threads: any, while sessions run. Since 0.1.
///
/// # Safety
/// `model` is live; `name` is NUL-terminated; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_model_remove_adapter(
    model: *const bmn_model,
    name: *const c_char,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            let model = memory::handle(model, "model")?;
            let name = memory::string(name, "name")?;
            if !model.engine.remove_adapter(name) {
                let known = model.engine.adapters().join(", ");
                let what = format!("name: expected the name of an adapter ({known}), found {name:?}");
                return Err(crate::error::Failure::invalid(what));
            }
            model.runtime.log.tell(BMN_LOG_INFO, "adapter", || format!("{name:?} is gone"));
            Ok(())
        })
    }
}

/// Frees an adapter handle; names that stand for the adapter keep it. NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `adapter` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_adapter_free(adapter: *mut bmn_adapter) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(adapter) }
}
